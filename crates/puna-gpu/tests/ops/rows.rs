//! Ops on rows: embedding (which shows every format's dequantisation), norm, rotation, SwiGLU.

use crate::pair::{Gaps, Pair, tolerance};
use puna_core::ops::{CopyRows, EmbedRows, Pairs, QkPrepare, RmsNorm, Rope, SwiGlu, Temperature};
use puna_core::{DType, Layout, Mat, Rows, Vector};
use puna_shaders::quant;

pub(crate) const TIGHT: Gaps = Gaps { before: 0, between: 0 };
pub(crate) const LOOSE: Gaps = Gaps { before: 13, between: 6 };

/// The formats with shaders.
pub(crate) fn formats() -> Vec<DType> {
    DType::ALL.into_iter().filter(|t| quant::by_name(t.name()).is_some()).collect()
}

#[test]
fn shaders_and_core_agree_on_blocks() {
    assert_eq!(formats().len(), quant::FORMATS.len());
    for dtype in formats() {
        let format = quant::by_name(dtype.name()).unwrap();
        assert_eq!(format.plain, dtype.is_plain(), "{dtype}");
        let per_block = format.block_len / dtype.block_len();
        assert_eq!(format.block_bytes, dtype.block_bytes() * per_block, "{dtype}");
    }
}

#[test]
fn embedding_in_every_format() {
    for dtype in formats() {
        for gaps in [TIGHT, LOOSE] {
            let mut pair = Pair::new(dtype as u64);
            let width = if dtype.is_plain() { 43 } else { 256 };
            let mut table = pair.mat(dtype, Layout::OutIn, 11, width, gaps);
            let out = pair.rows(6, width);
            pair.issue(EmbedRows { table: &table, tokens: &[10, 0, 3, 3, 7, 1], out });
            pair.same(&out, tolerance::DEQUANT, &format!("{dtype} {gaps:?}"));
            table.scale = Some(pair.vector(11));
            pair.issue(EmbedRows { table: &table, tokens: &[1, 2, 10, 4, 5, 9], out });
            pair.same(&out, tolerance::DEQUANT, &format!("{dtype} {gaps:?} scaled"));
        }
    }
}

/// Random bytes reach every code, scale and sign that a block can hold, f16 scales below the normal range too.
#[test]
fn every_bit_of_a_block_counts() {
    for dtype in formats() {
        let mut pair = Pair::new(77 + dtype as u64);
        let (rows, width) = (64, 256);
        let mut table = Mat::plain(puna_core::Weight(0), dtype, rows, width);
        let bytes: Vec<u8> = (0..rows * table.stride).map(|_| pair.random.bits() as u8).collect();
        table.weight = pair.load(bytes);
        let out = pair.rows(rows, width);
        let tokens: Vec<u32> = (0..rows as u32).collect();
        pair.issue(EmbedRows { table: &table, tokens: &tokens, out });
        let (found, expected) = pair.read(&out);
        let step = dtype.block_len();
        let mut checked = 0;
        for (b, (found, expected)) in found.chunks(step).zip(expected.chunks(step)).enumerate() {
            // Scales that are no numbers give values that are none; which of them is left open.
            if expected.iter().any(|v| !v.is_finite()) {
                continue;
            }
            let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            for (f, e) in found.iter().zip(expected) {
                // A scale of MXFP4 below the smallest normal F32 may be flushed, and with it 12 times as much.
                let off = (f - e).abs();
                assert!(off <= 1e-6 * largest + 1e-37, "{dtype} block {b}: {f} instead of {e}");
            }
            checked += 1;
        }
        assert!(checked > rows * width / step / 2, "{dtype}");
    }
}

#[test]
fn subnormal_f16_is_kept() {
    let mut pair = Pair::new(0);
    let values = [0x0001u16, 0x03ff, 0x8001, 0x8200, 0x0400, 0x7bff, 0x0000, 0x8000];
    let weight = pair.load(values.iter().flat_map(|v| v.to_le_bytes()).collect());
    let table = Mat::plain(weight, DType::F16, 1, 8);
    let out = pair.rows(1, 8);
    pair.issue(EmbedRows { table: &table, tokens: &[0], out });
    let (found, expected) = pair.read(&out);
    assert_eq!(found, expected);
}

#[test]
fn norms_of_any_width() {
    for (n, width) in [(1, 1), (3, 7), (2, 64), (5, 257), (70, 100), (2, 1500)] {
        let mut pair = Pair::new(width as u64);
        let (x, out, weight) = (pair.rows(n, width), pair.rows(n, width), pair.vector(width));
        pair.issue(RmsNorm { x, weight, eps: 1e-5, out });
        pair.same(&out, tolerance::NORM, &format!("{n} x {width}"));
    }
}

#[test]
fn rotation_norm_and_temperature() {
    let temperature = Some(Temperature { floor_scale: 8192.0, scale: 0.1 });
    for (head_dim, pairs_of_head) in [(8, 4), (128, 64), (6, 2), (7, 3), (64, 32)] {
        for pairs in [Pairs::Interleaved, Pairs::Half] {
            // The last position before, and the first at, a step of the temperature; and ten million.
            for pos in [0, 5, 8190, 16_383, 131_071, 9_999_990, 16_777_200] {
                let mut pair = Pair::new(pos + head_dim as u64);
                let x = pair.rows(3, 5 * head_dim);
                let freqs: Vec<f32> =
                    (0..pairs_of_head).map(|j| 500_000f32.powf(-(j as f32) / pairs_of_head as f32)).collect();
                let weight = pair.load(freqs.iter().flat_map(|v| v.to_le_bytes()).collect());
                let rope = Some(Rope { inv_freq: Vector { weight, offset: 0, len: pairs_of_head }, pairs });
                let op = QkPrepare { x, head_dim, pos, rope, norm_eps: None, temperature: None };
                let case = format!("head {head_dim} {pairs:?} at {pos}");
                pair.issue(op.clone());
                pair.same(&x, tolerance::ROPE, &case);
                pair.issue(QkPrepare { norm_eps: Some(1e-5), ..op.clone() });
                pair.same(&x, tolerance::NORM, &format!("{case} normed"));
                pair.issue(QkPrepare { rope: None, temperature, ..op });
                pair.same(&x, tolerance::NORM, &format!("{case} warmed"));
            }
        }
    }
}

/// Angles from tiny to huge, of both signs: the reduction in integers has no bad spot.
#[test]
fn angles_of_every_size() {
    let mut pair = Pair::new(1);
    let freqs: Vec<f32> = (-30..30).flat_map(|e| [2f32.powi(e), -3.3 * 2f32.powi(e)]).collect();
    let n = freqs.len();
    let weight = pair.load(freqs.iter().flat_map(|v| v.to_le_bytes()).collect());
    let rope = Some(Rope { inv_freq: Vector { weight, offset: 0, len: n }, pairs: Pairs::Half });
    for pos in [0, 1, 3, 1_000_003] {
        let x = pair.rows(2, 2 * n);
        pair.issue(QkPrepare { x, head_dim: 2 * n, pos, rope, norm_eps: None, temperature: None });
        pair.same(&x, tolerance::ROPE, &format!("at {pos}"));
    }
}

#[test]
fn swiglu_of_any_shape() {
    for (n, n_in, n_ff) in [(1, 64, 70), (2, 33, 1), (9, 256, 130)] {
        let mut pair = Pair::new(n_ff as u64);
        let gate = pair.mat(DType::F32, Layout::OutIn, n_ff, n_in, TIGHT);
        let up = pair.mat(DType::BF16, Layout::InOut, n_ff, n_in, LOOSE);
        let (x, out) = (pair.rows(n, n_in), pair.rows(n, n_ff));
        pair.issue(SwiGlu { x, gate: &gate, up: &up, out });
        pair.same(&out, tolerance::EXPONENTIAL, &format!("{n} x {n_in} x {n_ff}"));
    }
}

/// The same bits, and sums of two numbers, which have one rounding everywhere: short rows, rows longer than a workgroup, and
/// more values than one line of a grid covers.
#[test]
fn rows_are_copied_and_added() {
    for (n, width) in [(1, 1), (3, 5), (17, 64), (2, 5120), (129, 16_400)] {
        for add in [false, true] {
            let mut pair = Pair::new((n * width) as u64);
            let (from, to) = (pair.rows(n, width), pair.rows(n, width));
            pair.issue(CopyRows { from, to, add });
            pair.same(&to, 0.0, &format!("{n} x {width}, add {add}"));
            pair.same(&from, 0.0, &format!("{n} x {width}, add {add}: what was copied"));
            // Part of the rows, in the order of the calls.
            let row = n / 2;
            pair.issue(CopyRows { from: from.slice(row, 1), to: to.slice(0, 1), add: !add });
            pair.issue(CopyRows { from: to.slice(0, 1), to: from.slice(row, 1), add });
            pair.same(&to, 0.0, &format!("{n} x {width}, add {add}: a row"));
            pair.same(&from, 0.0, &format!("{n} x {width}, add {add}: and back"));
        }
    }
}

#[test]
fn no_rows_are_no_work() {
    let mut pair = Pair::new(3);
    let w = pair.mat(DType::F32, Layout::OutIn, 4, 4, TIGHT);
    let (x, out) = (pair.rows(2, 4), pair.rows(2, 4));
    let none = |rows: Rows| Rows { n_rows: 0, ..rows };
    pair.issue(EmbedRows { table: &w, tokens: &[], out: none(out) });
    pair.issue(puna_core::ops::MatMul { x: none(x), w: &w, bias: None, out: none(out), add: false });
    pair.issue(SwiGlu { x: none(x), gate: &w, up: &w, out: none(out) });
    pair.issue(CopyRows { from: none(x), to: none(out), add: false });
    pair.issue(CopyRows { from: none(x), to: none(out), add: true });
    pair.same(&out, 0.0, "untouched");
}
