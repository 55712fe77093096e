//! IQ4_XS: 8 sub-blocks of 32 values of 4 bits that index the levels of IQ4_NL, 6-bit scales around 32:
//! `y = d · (scale[e / 32] − 32) · VALUES[q]`.

use super::fit::{inverse, mean_square};
use super::iq4_nl::{VALUES, fit_scale, nearest_level};
use super::layout::{f16_at, pack, put, put_f16, through_f16, u16_at, unpack};
use super::super_block::signed_codes;

/// Values in a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 136;
/// f16 scale of the scales.
pub const D: usize = 0;
/// u16: bits `2s` and `2s + 1` are the upper bits of scale `s`.
pub const SCALES_H: usize = 2;
/// 4 bytes: nibble `s` (low nibble first) holds the low bits of scale `s`.
pub const SCALES_L: usize = 4;
/// 128 bytes: each 16 hold a run of 16 values in their low nibbles, then one in their high nibbles.
pub const QS: usize = 8;

/// The 6-bit scales of a block, their middle of 32 taken off.
pub fn scales(block: &[u8; BYTES]) -> [i8; 8] {
    let low = unpack::<4, 8>(&block[SCALES_L..QS], 1);
    let high = u16_at(block, SCALES_H);
    core::array::from_fn(|s| (low[s] | ((high >> (2 * s)) as u8 & 3) << 4) as i8 - 32)
}

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at(block, D);
    let scales = scales(block);
    let q = unpack::<4, LEN>(&block[QS..], 16);
    for (e, y) in out.iter_mut().enumerate() {
        *y = d * f32::from(scales[e / 32]) * f32::from(VALUES[usize::from(q[e])]);
    }
}

/// Packs a block, minimising the squared error weighted by column importance (or by x²).
pub fn quantize_block(x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [u8; BYTES] {
    let level = 2.0 * mean_square(x);
    let x = x.as_chunks::<32>().0;
    let fits: [f32; 8] =
        core::array::from_fn(|s| fit_scale(&x[s], importance.map(|w| &w.as_chunks().0[s]), level));
    let (d, scales) = signed_codes(&fits, 32);
    let d = through_f16(d);

    let mut q = [0; LEN];
    for (s, q) in q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let inverse = inverse(d * f32::from(scales[s]));
        *q = x[s].map(|v| nearest_level(v * inverse));
    }
    let scales = scales.map(|s| (s + 32) as u8);
    let high = scales.iter().rev().fold(0u16, |bits, s| bits << 2 | u16::from(s >> 4));
    let mut block = [0; BYTES];
    put_f16(&mut block, D, d);
    put(&mut block, SCALES_H, &high.to_le_bytes());
    put(&mut block, SCALES_L, &pack::<4, 4>(&scales, 1));
    put(&mut block, QS, &pack::<4, 128>(&q, 16));
    block
}
