//! Matrix products: every format and layout, few and many rows, windows of a binding.

use crate::pair::{Gaps, Pair, able, tolerance};
use crate::rows::{LOOSE, TIGHT, formats};
use puna_core::ops::{EmbedRows, MatMul, SwiGlu};
use puna_core::{DType, Layout};
use puna_gpu::{GpuDevice, Options, Tier};

fn product(pair: &mut Pair, dtype: DType, layout: Layout, dims: (usize, usize, usize), gaps: Gaps) {
    let (n, n_in, n_out) = dims;
    let case = format!("{dtype} {layout:?} {dims:?} {gaps:?}");
    let mut w = pair.mat(dtype, layout, n_out, n_in, gaps);
    let (x, out) = (pair.rows(n, n_in), pair.rows(n, n_out));
    pair.issue(MatMul { x, w: &w, bias: None, out, add: false });
    pair.same(&out, tolerance::PRODUCT, &case);
    w.scale = Some(pair.vector(n_out));
    let bias = Some(pair.vector(n_out));
    pair.issue(MatMul { x, w: &w, bias, out, add: true });
    pair.same(&out, tolerance::PRODUCT, &format!("{case} scale bias add"));
}

#[test]
fn every_format_few_and_many_rows() {
    for dtype in formats() {
        let n_in = if dtype.is_plain() { 101 } else { 256 };
        for (n, gaps) in [(1, TIGHT), (2, LOOSE), (3, TIGHT), (17, LOOSE)] {
            product(&mut Pair::new(n as u64), dtype, Layout::OutIn, (n, n_in, 70), gaps);
        }
    }
}

fn gated(pair: &mut Pair, dtype: DType, (n, n_in, n_out): (usize, usize, usize), gaps: Gaps) {
    let case = format!("SwiGlu {dtype} {n} rows {gaps:?}");
    let gate = pair.mat(dtype, Layout::OutIn, n_out, n_in, gaps);
    let up = pair.mat(dtype, Layout::OutIn, n_out, n_in, TIGHT);
    let (x, out) = (pair.rows(n, n_in), pair.rows(n, n_out));
    pair.issue(SwiGlu { x, gate: &gate, up: &up, out });
    pair.same(&out, tolerance::EXPONENTIAL, &case);
}

/// Rows longer than a step of a workgroup, more rows than a tile, none of them a multiple of either.
fn tier(tier: Tier) {
    for dtype in formats() {
        // Lanes take whole steps of 32 values.
        let n_in = match (dtype.is_plain(), tier) {
            (false, _) => 768,
            (true, Tier::Lanes) => 544,
            (true, _) => 552,
        };
        for (n, gaps) in [(1, LOOSE), (35, TIGHT)] {
            let pair = &mut Pair::in_tier(tier, n as u64);
            product(pair, dtype, Layout::OutIn, (n, n_in, 70), gaps);
            gated(pair, dtype, (n, n_in, 35), gaps);
        }
    }
}

#[test]
fn tier_thread() {
    tier(Tier::Thread);
}

#[test]
fn tier_lanes() {
    if able(Tier::Lanes) {
        tier(Tier::Lanes);
    }
}

/// Matrices of more windows of uniforms than a dispatch binds, and rows of weights or activations that are longer than a
/// window, or of which only a few fit.
#[test]
fn windows_of_uniforms() {
    for (dtype, n, n_in, n_out) in [
        (DType::Q8_0, 1, 1024, 241),
        (DType::Q8_0, 35, 1024, 241),
        (DType::F32, 2, 8192, 9),
        (DType::F32, 3, 8192, 9),
        (DType::F32, 1, 16_416, 5),
        (DType::Q4_K, 2, 16_384, 6),
        (DType::Q4_K, 5, 16_640, 5),
    ]
    .into_iter()
    .filter(|_| able(Tier::Lanes))
    {
        let pair = &mut Pair::in_tier(Tier::Lanes, n as u64);
        let case = format!("{dtype} {n} rows {n_in} {n_out}");
        let w = pair.mat(dtype, Layout::OutIn, n_out, n_in, LOOSE);
        let (x, out) = (pair.rows(n, n_in), pair.rows(n, n_out));
        pair.issue(MatMul { x, w: &w, bias: None, out, add: true });
        pair.same(&out, tolerance::LONG, &case);
        let up = pair.mat(dtype, Layout::OutIn, n_out, n_in, TIGHT);
        pair.issue(SwiGlu { x, gate: &w, up: &up, out });
        pair.same(&out, 10.0 * tolerance::LONG, &format!("SwiGlu {case}"));
    }
}

#[test]
fn tier_shared() {
    tier(Tier::Shared);
}

#[test]
fn tier_subgroup() {
    tier(Tier::Subgroup);
}

#[test]
fn plain_formats_stored_the_other_way() {
    for dtype in formats().into_iter().filter(|t| t.is_plain()) {
        for (n, gaps) in [(1, TIGHT), (5, LOOSE)] {
            product(&mut Pair::new(n as u64), dtype, Layout::InOut, (n, 57, 131), gaps);
        }
    }
}

#[test]
fn shapes_at_the_edges() {
    for dims in [(1, 1, 1), (8, 8, 64), (9, 7, 65), (4, 300, 1), (33, 9, 128)] {
        product(&mut Pair::new(9), DType::F32, Layout::OutIn, dims, TIGHT);
        product(&mut Pair::new(9), DType::F16, Layout::InOut, dims, TIGHT);
    }
    product(&mut Pair::new(9), DType::Q8_0, Layout::OutIn, (7, 32, 3), Gaps { before: 1, between: 1 });
}

/// Bindings of 4 KiB and buffers of 8 KiB split every matrix here into many windows, and a region into many buffers.
#[test]
fn matrices_larger_than_a_binding() {
    let options = Options::new().binding_limit(4096).buffer_limit(8192);
    let small = || Box::new(GpuDevice::open(&options).unwrap());
    for (dtype, layout, gaps) in [
        (DType::F32, Layout::OutIn, TIGHT),
        (DType::BF16, Layout::InOut, LOOSE),
        (DType::F32, Layout::InOut, TIGHT),
        (DType::Q4_0, Layout::OutIn, LOOSE),
        (DType::Q6_K, Layout::OutIn, TIGHT),
    ] {
        let mut pair = Pair::on(small(), 5);
        product(&mut pair, dtype, layout, (5, 256, 150), gaps);
        if layout == Layout::OutIn {
            let table = pair.mat(dtype, layout, 190, 256, gaps);
            let out = pair.rows(5, 256);
            pair.issue(EmbedRows { table: &table, tokens: &[189, 0, 50, 100, 150], out });
            pair.same(&out, tolerance::DEQUANT, &format!("{dtype} rows"));
        }
    }
}
