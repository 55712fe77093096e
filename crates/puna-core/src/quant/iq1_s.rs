//! IQ1_S: 8 sub-blocks of 32 values; 11-bit indices into a ternary grid, 3-bit scales and a common shift of ±⅛:
//! `y = d · (2 · scale + 1) · (level ± ⅛)`.

use super::codebook;
use super::fit::{inverse, mean_square, nearest, weigh_or};
use super::grid::Grid;
use super::grids;
use super::layout::{f16_at, put, put_f16, u16_at};
use super::ternary_fit::Ternary;

/// Values in a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 50;
/// f16 scale `d`.
pub const D: usize = 0;
/// 32 bytes: the low bits of the grid indices.
pub const QS: usize = 2;
/// 8 × u16: upper bits of four indices (3 bits each, lowest first), the scale (3 bits), a 1 for the shift −⅛.
pub const QH: usize = 34;

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at(block, D);
    for (i, out) in out.chunks_exact_mut(8).enumerate() {
        let high = u16_at(block, QH + 2 * (i / 4));
        let scale = d * f32::from(2 * (high >> 12 & 7) + 1);
        let index = usize::from(block[QS + i]) | usize::from(high >> (3 * (i % 4)) & 7) << 8;
        codebook::expand_shifted(scale, index, high >> 15 == 1, out);
    }
}

/// The codebook, to be searched. IQ1_M has the same.
pub(super) fn grid() -> Grid<8> {
    Grid::new(&grids::IQ1_S, 3, 3)
}

/// Packs a block, minimising the squared error weighted by column importance (or by x²).
pub(super) fn quantize_block(grid: &Grid<8>, x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [u8; BYTES] {
    const CORRECTION: f32 = 1.125;
    let level = 2.0 * mean_square(x);
    let x = x.as_chunks::<32>().0;
    let fits: [Ternary<32>; 8] = core::array::from_fn(|s| {
        let importance = importance.map(|w| &w.as_chunks().0[s]);
        let w = weigh_or(&x[s], importance, level, |v| v * v);
        Ternary::fit(grid, &x[s], &w, &[[false; 2], [true; 2]], 1e-12)
    });
    let d = fits.iter().map(|fit| fit.scale).fold(0.0, f32::max) / 15.0;
    let inverse = inverse(d);
    let mut block = [0; BYTES];
    if d == 0.0 {
        return block;
    }
    put_f16(&mut block, D, d * CORRECTION);
    for (s, fit) in fits.iter().enumerate() {
        let code = nearest(0.5 * (inverse * fit.scale - 1.0)).clamp(0, 7) as u16;
        let head = code | u16::from(fit.negative[0]) << 3;
        put(&mut block, QS + 4 * s, &fit.index.map(|index| index as u8));
        let high = fit.index.iter().rev().fold(head, |bits, index| bits << 3 | index >> 8);
        put(&mut block, QH + 2 * s, &high.to_le_bytes());
    }
    block
}
