//! Q4_1: 32 values of 4 bits, a scale and a minimum: `y = d · q + m`.

use super::fit::{Affine, FINE, inverse};
use super::layout::{f16_at, pack, put, put_f16, unpack};

/// Values in a block.
pub const LEN: usize = 32;
/// Bytes of a block.
pub const BYTES: usize = 20;
/// f16 scale `d`.
pub const D: usize = 0;
/// f16 minimum `m`.
pub const M: usize = 2;
/// 16 bytes: byte `i` holds value `i` in its low and value `16 + i` in its high nibble.
pub const QS: usize = 4;

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let (d, m) = (f16_at(block, D), f16_at(block, M));
    let q = unpack::<4, LEN>(&block[QS..], 16);
    for (y, q) in out.iter_mut().zip(q) {
        *y = d * f32::from(q) + m;
    }
}

/// Packs a block. `weights` are error weights for a least squares fit; without them the range is cut evenly.
pub fn quantize_block(x: &[f32; LEN], weights: Option<&[f32; LEN]>) -> [u8; BYTES] {
    let (d, m, q) = fit(x, weights, 15);
    let mut block = [0; BYTES];
    put_f16(&mut block, D, d);
    put_f16(&mut block, M, m);
    put(&mut block, QS, &pack::<4, 16>(&q, 16));
    block
}

/// Scale, minimum and codes `0..=q_max` of a block.
pub(super) fn fit(x: &[f32; LEN], weights: Option<&[f32; LEN]>, q_max: u8) -> (f32, f32, [u8; LEN]) {
    if let Some(weights) = weights {
        let fit = Affine::fit(x, weights, q_max, &FINE, |e| e * e);
        return (fit.scale, fit.min, fit.q);
    }
    let min = x.iter().copied().fold(f32::INFINITY, f32::min);
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let d = (max - min) / f32::from(q_max);
    let inverse = inverse(d);
    (d, min, x.map(|v| (((v - min) * inverse + 0.5) as u8).min(q_max)))
}
