//! IQ1_M: 16 sub-blocks of 16 values; 11-bit indices into a ternary grid, a shift of ±⅛ for each, 3-bit scales:
//! `y = d · (2 · scale + 1) · (level ± ⅛)`.

use half::f16;

use super::codebook;
use super::fit::{inverse, mean_square, nearest, weigh_or};
use super::grid::Grid;
use super::layout::{pack, put, u16_at, unpack};
use super::ternary_fit::Ternary;

/// Values in a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 56;
/// 32 bytes: the low bits of the grid indices.
pub const QS: usize = 0;
/// 16 bytes: nibble `i` (low nibble first) holds the upper 3 bits of index `i` and a 1 for the shift −⅛.
pub const QH: usize = 32;
/// 4 × u16: four 3-bit scales each, lowest first; their top nibbles, first u16 lowest, are the f16 scale `d`.
pub const SCALES: usize = 48;

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let scales: [u16; 4] = core::array::from_fn(|i| u16_at(block, SCALES + 2 * i));
    let d = f16::from_bits(scales.iter().rev().fold(0, |bits, s| bits << 4 | s >> 12)).to_f32();
    let high = unpack::<4, 32>(&block[QH..SCALES], 1);
    for (i, out) in out.chunks_exact_mut(8).enumerate() {
        let scale = d * f32::from(2 * (scales[i / 8] >> (3 * (i / 2 % 4)) & 7) + 1);
        let index = usize::from(block[QS + i]) | usize::from(high[i] & 7) << 8;
        codebook::expand_shifted(scale, index, high[i] >> 3 == 1, out);
    }
}

/// Packs a block, minimising the squared error weighted by column importance (or by x²).
pub(super) fn quantize_block(grid: &Grid<8>, x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [u8; BYTES] {
    const SHIFTS: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];
    const CORRECTION: f32 = 1.1125;
    let level = 2.0 * mean_square(x);
    let x = x.as_chunks::<16>().0;
    let weights: [[f32; 16]; 16] =
        core::array::from_fn(|s| weigh_or(&x[s], importance.map(|w| &w.as_chunks().0[s]), level, |v| v * v));
    let fits: [Ternary<16>; 16] =
        core::array::from_fn(|s| Ternary::fit(grid, &x[s], &weights[s], &SHIFTS, 1e-7));
    let step = fits.iter().map(|fit| fit.scale).fold(0.0, f32::max) / 15.0;
    let inverse = inverse(step);
    let mut block = [0; BYTES];
    if step == 0.0 {
        return block;
    }
    // With the scales rounded, the one above them is fitted to all values.
    let codes: [u8; 16] =
        core::array::from_fn(|s| nearest(0.5 * (inverse * fits[s].scale - 1.0)).clamp(0, 7) as u8);
    let (mut xq, mut qq) = (0.0, 0.0);
    for i in 0..32 {
        let (s, k) = (i / 2, i % 2);
        let (x, w) = (&x[s].as_chunks().0[k], &weights[s].as_chunks().0[k]);
        let (part_xq, part_qq) = fits[s].sums(grid, k, x, w);
        let scale = f32::from(2 * codes[s] + 1);
        xq += scale * part_xq;
        qq += scale * scale * part_qq;
    }
    let d = if qq > 0.0 { xq / qq } else { step };
    let bits = f16::from_f32(d * CORRECTION).to_bits();

    let index: [u16; 32] = core::array::from_fn(|i| fits[i / 2].index[i % 2]);
    let shift = |i: usize| u8::from(fits[i / 2].negative[i % 2]) << 3;
    put(&mut block, QS, &index.map(|index| index as u8));
    let high: [u8; 32] = core::array::from_fn(|i| (index[i] >> 8) as u8 | shift(i));
    put(&mut block, QH, &pack::<4, 16>(&high, 1));
    for g in 0..4 {
        let scales =
            codes[4 * g..4 * g + 4].iter().rev().fold(0u16, |bits, code| bits << 3 | u16::from(*code));
        put(&mut block, SCALES + 2 * g, &(scales | (bits >> (4 * g) & 15) << 12).to_le_bytes());
    }
    block
}
