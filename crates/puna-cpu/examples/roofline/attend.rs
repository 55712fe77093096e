//! Attention of one row over a long context, beside the speed at which memory is read.

use crate::{limits, memory};
use puna_core::ops::{Attend, KvAppend, Window};
use puna_core::{Buf, Device, Elem, KvView, Rows};
use puna_cpu::device::Threads;
use puna_cpu::{CpuDevice, CpuOptions};
use std::hint::black_box;
use std::time::Instant;

/// Llama 4's heads.
const HEADS: usize = 40;
const KV_HEADS: usize = 8;
const HEAD_DIM: usize = 128;
/// Positions that are attended to. The keys and values of the first stay in cache: what it takes is not memory's doing.
const CONTEXTS: [usize; 2] = [1024, 32_768];
/// Positions of a block of the cache.
const BLOCK: usize = 256;

/// A row of any values in a new buffer.
fn rows(device: &mut dyn Device, n: usize, width: usize) -> Rows {
    let buf = device.alloc(Elem::F32, n * width).unwrap();
    let values: Vec<f32> = (0..n * width).map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5).collect();
    device.write(buf, 0, &values).unwrap();
    Rows::new(buf, n, width)
}

/// One line for each number of threads and context: medians of nine rounds in turns.
pub(crate) fn print(threads: &[usize]) {
    for (n, context) in threads.iter().flat_map(|&n| CONTEXTS.map(|context| (n, context))) {
        let options = CpuOptions { threads: Threads::Count(n), ..CpuOptions::default() };
        let mut device = CpuDevice::new(options).unwrap();
        let len = 2 * KV_HEADS * BLOCK * HEAD_DIM;
        let blocks: Vec<Buf> = (0..context / BLOCK).map(|_| device.alloc(Elem::F16, len).unwrap()).collect();
        let kv = KvView {
            blocks: &blocks,
            block_tokens: BLOCK,
            first: 0,
            n_kv_heads: KV_HEADS,
            head_dim: HEAD_DIM,
            elem: Elem::F16,
        };
        let new = rows(&mut device, BLOCK, KV_HEADS * HEAD_DIM);
        for pos in (0..context).step_by(BLOCK) {
            device.issue(&KvAppend { k: new, v: new, kv: &kv, pos: pos as u64 }.into()).unwrap();
        }
        let (q, out) = (rows(&mut device, 1, HEADS * HEAD_DIM), rows(&mut device, 1, HEADS * HEAD_DIM));
        let (pos, scale) = (context as u64 - 1, 1.0 / (HEAD_DIM as f32).sqrt());
        let op = Attend { q, kv: &kv, out, pos, scale, window: Window::Full }.into();
        let bytes = (context * KV_HEADS * HEAD_DIM * 2 * 2) as f64;
        let plain = vec![1u8; bytes as usize];
        let (mut reads, mut attends) = (Vec::new(), Vec::new());
        for _ in 0..9 {
            // Each thread a part of its own: what one has just read, another would have from the cache.
            let part = plain.len() / n;
            reads.push(limits::together(n, |i| memory::read(black_box(&plain[i * part..(i + 1) * part]))));
            let clock = Instant::now();
            device.issue(&op).unwrap();
            attends.push(clock.elapsed().as_secs_f64());
        }
        let [read, attend] = [reads, attends].map(|mut seconds| {
            seconds.sort_by(f64::total_cmp);
            bytes / seconds[seconds.len() / 2] / 1e9
        });
        println!(
            "attention over {context} positions, threads {n}: {attend:.1} GB/s; memory is read at {read:.1}"
        );
    }
}
