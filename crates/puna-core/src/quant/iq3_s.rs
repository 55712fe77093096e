//! IQ3_S: 8 sub-blocks of 32 values; 9-bit grid indices of 4 odd levels, a sign bit for every value, 4-bit scales:
//! `y = ± d · (1 + 2 · scale) · level`.

use super::codebook;
use super::grid::Grid;
use super::grid_fit::{GridBlock, GridKind, Tries};
use super::grids;
use super::layout::{f16_at, pack, put, put_f16, unpack};

/// Values in a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 110;
/// f16 scale `d`.
pub const D: usize = 0;
/// 64 bytes: the low bits of the grid indices.
pub const QS: usize = 2;
/// 8 bytes: bit `i % 8` of byte `i / 8` is the ninth bit of index `i`.
pub const QH: usize = 66;
/// 32 bytes: bit `e % 8` of byte `e / 8` is the sign of value `e`.
pub const SIGNS: usize = 74;
/// 4 bytes: nibble `s` (low nibble first) is the scale of sub-block `s`.
pub const SCALES: usize = 106;

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at(block, D);
    let scales = unpack::<4, 8>(&block[SCALES..], 1);
    let high = unpack::<1, 64>(&block[QH..SIGNS], 1);
    for (i, out) in out.chunks_exact_mut(4).enumerate() {
        let scale = d * f32::from(1 + 2 * scales[i / 8]);
        let index = usize::from(block[QS + i]) | usize::from(high[i]) << 8;
        let signs = block[SIGNS + i / 2] >> (4 * (i % 2));
        codebook::expand(scale, &codebook::IQ3_S[index], signs, out);
    }
}

/// The codebook, to be searched.
pub(super) fn grid() -> Grid<4> {
    Grid::new(&grids::IQ3_S, 8, 3)
}

/// Packs a block, minimising the squared error weighted by column importance (or by x²).
pub(super) fn quantize_block(grid: &Grid<4>, x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [u8; BYTES] {
    const KIND: GridKind = GridKind {
        top: 7,
        even: false,
        level: 2.0,
        level_alone: 0.0,
        tiny: 1e-15,
        around_best: false,
        tries: Tries { reach: 9, step: 0.2, again: true },
        correction: 1.033,
    };
    let mut block = [0; BYTES];
    let Some(fit) = GridBlock::<8>::fit::<32, 4>(grid, &KIND, x, importance) else { return block };
    put_f16(&mut block, D, fit.d);
    let mut high = [0; 64];
    for s in 0..8 {
        put(&mut block, QS + 8 * s, &fit.index[s].map(|index| index as u8));
        put(&mut high, 8 * s, &fit.index[s].map(|index| (index >> 8) as u8));
        put(&mut block, SIGNS + 4 * s, &fit.signs[s]);
    }
    put(&mut block, QH, &pack::<1, 8>(&high, 1));
    put(&mut block, SCALES, &pack::<4, 4>(&fit.scales, 1));
    block
}
