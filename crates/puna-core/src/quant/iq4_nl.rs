//! IQ4_NL: 32 values of 4 bits that index a fixed table of unevenly spaced levels, one scale: `y = d · VALUES[q]`.

use super::fit::{inverse, mean_square, peak, weigh};
use super::layout::{f16_at, pack, put, put_f16, through_f16, unpack};

/// Values in a block.
pub const LEN: usize = 32;
/// Bytes of a block.
pub const BYTES: usize = 18;
/// f16 scale `d`.
pub const D: usize = 0;
/// 16 bytes: byte `i` holds value `i` in its low and value `16 + i` in its high nibble.
pub const QS: usize = 2;

/// The levels, shared with IQ4_XS.
pub const VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at(block, D);
    let q = unpack::<4, LEN>(&block[QS..], 16);
    for (y, q) in out.iter_mut().zip(q) {
        *y = d * f32::from(VALUES[usize::from(q)]);
    }
}

/// Packs a block, minimising the squared error weighted by column importance (or by x²).
pub fn quantize_block(x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [u8; BYTES] {
    let level = 2.0 * mean_square(x);
    let d = through_f16(fit_scale(x, importance, level));
    let inverse = inverse(d);
    let mut block = [0; BYTES];
    put_f16(&mut block, D, d);
    put(&mut block, QS, &pack::<4, 16>(&x.map(|v| nearest_level(v * inverse)), 16));
    block
}

/// The index of the level nearest to `x`; a value halfway between two takes the upper.
pub(super) fn nearest_level(x: f32) -> u8 {
    // Twice the midpoints, to keep them whole.
    VALUES.windows(2).map(|pair| u8::from(2.0 * x >= f32::from(pair[0]) + f32::from(pair[1]))).sum()
}

/// The least squares scale among 16 candidates: the peak on ±127 and its neighbourhood.
pub(super) fn fit_scale(x: &[f32; 32], importance: Option<&[f32; 32]>, level: f32) -> f32 {
    let peak = peak(x);
    if peak.abs() < 1e-15 {
        return 0.0;
    }
    let w = importance.map_or_else(|| x.map(|v| v * v), |importance| weigh(x, importance, level));
    let lowest = f32::from(VALUES[0]);
    let (mut best, mut best_gain) = (peak / lowest, 0.0);
    for inverse in core::iter::once(-lowest).chain((-7..=7i8).map(|step| lowest + f32::from(step))) {
        let inverse = inverse / peak;
        let (mut sum_xq, mut sum_qq) = (0.0, 0.0);
        for (x, w) in x.iter().zip(&w) {
            let q = f32::from(VALUES[usize::from(nearest_level(x * inverse))]);
            sum_xq += w * q * x;
            sum_qq += w * q * q;
        }
        if sum_qq > 0.0 && sum_xq * sum_xq > best_gain * sum_qq {
            best = sum_xq / sum_qq;
            best_gain = best * sum_xq;
        }
    }
    best
}
