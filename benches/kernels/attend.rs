//! `Attend` over a cache of 4096 positions, 40 query heads on 8 key/value heads of 128.

use criterion::{Criterion, Throughput};
use puna_benches::{device, rows};
use puna_core::ops::{Attend, KvAppend, Window};
use puna_core::{Buf, Device, Elem, KvView};

const HEADS: usize = 40;
const KV_HEADS: usize = 8;
const HEAD_DIM: usize = 128;
const CACHED: usize = 4096;
const BLOCK: usize = 256;

fn run(c: &mut Criterion, name: &str, n: usize) {
    let mut device = device();
    let len = 2 * KV_HEADS * BLOCK * HEAD_DIM;
    let blocks: Vec<Buf> = (0..CACHED / BLOCK).map(|_| device.alloc(Elem::F16, len).unwrap()).collect();
    let kv = KvView {
        blocks: &blocks,
        block_tokens: BLOCK,
        first: 0,
        n_kv_heads: KV_HEADS,
        head_dim: HEAD_DIM,
        elem: Elem::F16,
    };
    let new = rows(&mut device, CACHED, KV_HEADS * HEAD_DIM);
    device.issue(&KvAppend { k: new, v: new, kv: &kv, pos: 0 }.into()).unwrap();
    let (q, out) = (rows(&mut device, n, HEADS * HEAD_DIM), rows(&mut device, n, HEADS * HEAD_DIM));
    let scale = 1.0 / (HEAD_DIM as f32).sqrt();
    let mut group = c.benchmark_group(name);
    // Keys and values that a row sees.
    group.throughput(Throughput::Bytes((n * CACHED * KV_HEADS * HEAD_DIM * 2 * 2) as u64));
    for (what, window) in [("full", Window::Full), ("chunk 8192", Window::Chunk(8192))] {
        let op = Attend { q, kv: &kv, out, pos: (CACHED - n) as u64, scale, window }.into();
        group.bench_function(what, |b| b.iter(|| device.issue(&op).unwrap()));
    }
}

pub(crate) fn decode(c: &mut Criterion) {
    run(c, "attend/decode", 1);
}

pub(crate) fn prefill(c: &mut Criterion) {
    run(c, "attend/prefill 64", 64);
}
