//! `issue` allocates nothing once the sizes have been seen, on any thread.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use puna_core::ops::{
    Attend, EmbedRows, ExpertFfn, KvAppend, MatMul, Op, Pairs, Picks, QkPrepare, RmsNorm, Rope, Route,
    SwiGlu, Window,
};
use puna_core::{Buf, DType, Device, Elem, Expert, KvView, Mat, Region, Rows, Vector, quant};
use puna_cpu::device::Threads;
use puna_cpu::{CpuDevice, CpuOptions};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: as promised to this function.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as promised to this function.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HIDDEN: usize = 256;
const N_FF: usize = 512;
const HEAD_DIM: usize = 32;
const N_EXPERTS: usize = 4;

fn mat(device: &mut CpuDevice, dtype: DType, n_out: usize, n_in: usize) -> Mat {
    let values: Vec<f32> = (0..n_out * n_in).map(|i| ((i * 7919) % 1013) as f32 / 506.5 - 1.0).collect();
    let row_bytes = dtype.row_bytes(n_in).unwrap();
    let mut bytes = vec![0; n_out * row_bytes];
    for (row, out) in values.chunks_exact(n_in).zip(bytes.chunks_exact_mut(row_bytes)) {
        quant::quantize_row(dtype, row, None, out).unwrap();
    }
    Mat::plain(device.load(&Region::from_vec(bytes)).unwrap(), dtype, n_out, n_in)
}

#[test]
fn decoding_does_not_allocate() {
    let mut device =
        CpuDevice::new(CpuOptions { threads: Threads::Count(2), ..CpuOptions::default() }).unwrap();
    let d = &mut device;
    let table = mat(d, DType::Q8_0, 100, HIDDEN);
    let (w, up) = (mat(d, DType::Q4_K, N_FF, HIDDEN), mat(d, DType::BF16, N_FF, HIDDEN));
    let router = mat(d, DType::F32, N_EXPERTS, HIDDEN);
    let experts: Vec<Expert> = (0..N_EXPERTS)
        .map(|_| Expert {
            gate: mat(d, DType::Q4_0, N_FF, HIDDEN),
            up: mat(d, DType::Q6_K, N_FF, HIDDEN),
            down: mat(d, DType::Q8_0, HIDDEN, N_FF),
        })
        .collect();
    let ones: Vec<u8> = (0..=HIDDEN).flat_map(|_| 1f32.to_le_bytes()).collect();
    // One byte off, so that vectors must be decoded.
    let odd = Region::from_vec([&[0][..], &ones].concat()).slice(1..1 + 4 * HIDDEN).unwrap();
    let weight = Vector { weight: d.load(&odd).unwrap(), offset: 0, len: HIDDEN };
    let inv_freq = Vector { len: HEAD_DIM / 2, ..weight };
    let max_rows = 48;
    let buf = |d: &mut CpuDevice, width: usize| d.alloc(Elem::F32, max_rows * width).unwrap();
    let (x, normed, ff, out) = (buf(d, HIDDEN), buf(d, HIDDEN), buf(d, N_FF), buf(d, HIDDEN));
    let picks = Picks { ids: d.alloc(Elem::U32, 2 * max_rows).unwrap(), scores: buf(d, 2), top_k: 2 };
    let blocks: Vec<Buf> = (0..8).map(|_| d.alloc(Elem::F16, 2 * HIDDEN * 512).unwrap()).collect();
    let kv = KvView {
        blocks: &blocks,
        block_tokens: 512,
        first: 0,
        n_kv_heads: HIDDEN / HEAD_DIM,
        head_dim: HEAD_DIM,
        elem: Elem::F16,
    };
    let rope = Some(Rope { inv_freq, pairs: Pairs::Interleaved });
    let mut forward = |pos: u64, tokens: &[u32]| {
        let rows = |buf, width| Rows::new(buf, tokens.len(), width);
        let (x, normed, ff, out) = (rows(x, HIDDEN), rows(normed, HIDDEN), rows(ff, N_FF), rows(out, HIDDEN));
        let ops: [Op<'_>; 9] = [
            EmbedRows { table: &table, tokens, out: x }.into(),
            RmsNorm { x, weight, eps: 1e-5, out: normed }.into(),
            QkPrepare { x: normed, head_dim: HEAD_DIM, pos, rope, norm_eps: Some(1e-5), temperature: None }
                .into(),
            KvAppend { k: normed, v: x, kv: &kv, pos }.into(),
            Attend { q: normed, kv: &kv, out, pos, scale: 0.2, window: Window::Full }.into(),
            MatMul { x: out, w: &w, bias: None, out: ff, add: true }.into(),
            SwiGlu { x: out, gate: &w, up: &up, out: ff }.into(),
            Route { x: normed, router: &router, always: None, picks }.into(),
            ExpertFfn { x: normed, experts: &experts, picks, out }.into(),
        ];
        let before = ALLOCATIONS.load(Relaxed);
        for op in &ops {
            device.issue(op).unwrap();
        }
        ALLOCATIONS.load(Relaxed) - before
    };
    let prompt: Vec<u32> = (0..max_rows as u32).collect();
    assert!(forward(0, &prompt) > 0, "the allocator counts");
    forward(48, &[1]);
    // The context grows far beyond what was seen, and experts get other numbers of rows.
    let mut pos = 49;
    while pos < 4000 {
        let tokens = if pos % 5 == 0 { &prompt[..] } else { &prompt[(pos % 40) as usize..][..1] };
        assert_eq!(forward(pos, tokens), 0, "at position {pos}");
        pos += tokens.len() as u64;
    }
}
