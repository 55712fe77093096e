//! IQ2_S: 16 sub-blocks of 16 values; 10-bit grid indices of 8 levels, a full byte of signs each, 4-bit scales:
//! `y = ± d · (½ + scale) / 4 · level`.

use super::codebook;
use super::grid::Grid;
use super::grid_fit::{GridBlock, GridKind, Tries};
use super::grids;
use super::layout::{f16_at, pack, put, put_f16, unpack};

/// Values in a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 82;
/// f16 scale `d`.
pub const D: usize = 0;
/// 32 bytes: the low bits of the grid indices.
pub const QS: usize = 2;
/// 32 bytes: signs of each entry, first value lowest.
pub const SIGNS: usize = 34;
/// 8 bytes of four 2-bit planes: byte `i / 4`, bits `2(i % 4)` and up are the upper bits of index `i`.
pub const QH: usize = 66;
/// 8 bytes: nibble `s` (low nibble first) is the scale of sub-block `s`.
pub const SCALES: usize = 74;

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at(block, D);
    let scales = unpack::<4, 16>(&block[SCALES..], 1);
    let high = unpack::<2, 32>(&block[QH..SCALES], 1);
    for (i, out) in out.chunks_exact_mut(8).enumerate() {
        let scale = d * (0.5 + f32::from(scales[i / 2])) * 0.25;
        let index = usize::from(block[QS + i]) | usize::from(high[i]) << 8;
        codebook::expand(scale, &codebook::IQ2_S[index], block[SIGNS + i], out);
    }
}

/// The codebook, to be searched.
pub(super) fn grid() -> Grid<8> {
    Grid::new(&grids::IQ2_S, 3, 1)
}

/// Packs a block, minimising the squared error weighted by column importance (or by what is large).
pub(super) fn quantize_block(grid: &Grid<8>, x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [u8; BYTES] {
    const KIND: GridKind = GridKind {
        top: 2,
        even: false,
        level: 2.0,
        level_alone: 0.5,
        tiny: 1e-8,
        around_best: false,
        tries: Tries { reach: 9, step: 0.1, again: false },
        // The levels are 8, 25 and 43 where 8, 24 and 40 would be in proportion.
        correction: 0.9875,
    };
    let mut block = [0; BYTES];
    let Some(fit) = GridBlock::<16>::fit::<16, 8>(grid, &KIND, x, importance) else { return block };
    put_f16(&mut block, D, fit.d);
    let index: [u16; 32] = core::array::from_fn(|i| fit.index[i / 2][i % 2]);
    for i in 0..32 {
        block[QS + i] = index[i] as u8;
        block[SIGNS + i] = fit.signs[i / 2][i % 2];
    }
    put(&mut block, QH, &pack::<2, 8>(&index.map(|index| (index >> 8) as u8), 1));
    put(&mut block, SCALES, &pack::<4, 8>(&fit.scales, 1));
    block
}
