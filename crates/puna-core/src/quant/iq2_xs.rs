//! IQ2_XS: 16 sub-blocks of 16 values; 9-bit grid indices of 8 levels with 7 sign bits, 4-bit scales:
//! `y = ± d · (½ + scale) / 4 · level`.

use super::codebook::{self, even_signs};
use super::grid::Grid;
use super::grid_fit::{GridBlock, GridKind, Tries};
use super::grids;
use super::layout::{f16_at, pack, put, put_f16, u16_at, unpack};

/// Values in a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 74;
/// f16 scale `d`.
pub const D: usize = 0;
/// 32 × u16: a grid index in the low 9 bits, signs in the upper 7.
pub const QS: usize = 2;
/// 8 bytes: nibble `s` (low nibble first) is the scale of sub-block `s`.
pub const SCALES: usize = 66;

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at(block, D);
    let scales = unpack::<4, 16>(&block[SCALES..], 1);
    for (i, out) in out.chunks_exact_mut(8).enumerate() {
        let scale = d * (0.5 + f32::from(scales[i / 2])) * 0.25;
        let q = u16_at(block, QS + 2 * i);
        let entry = &codebook::IQ2_XS[usize::from(q & 511)];
        codebook::expand(scale, entry, even_signs(u32::from(q >> 9)), out);
    }
}

/// The codebook, to be searched.
pub(super) fn grid() -> Grid<8> {
    Grid::new(&grids::IQ2_XS, 3, 2)
}

/// Packs a block, minimising the squared error weighted by column importance (or by what is large).
pub(super) fn quantize_block(grid: &Grid<8>, x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [u8; BYTES] {
    const KIND: GridKind = GridKind {
        top: 2,
        even: true,
        level: 1.0,
        level_alone: 0.5,
        tiny: 1e-15,
        around_best: false,
        tries: Tries { reach: 9, step: 0.1, again: false },
        correction: 1.0,
    };
    let mut block = [0; BYTES];
    let Some(fit) = GridBlock::<16>::fit::<16, 8>(grid, &KIND, x, importance) else { return block };
    put_f16(&mut block, D, fit.d);
    for i in 0..32 {
        let (s, k) = (i / 2, i % 2);
        let q = fit.index[s][k] | u16::from(fit.signs[s][k]) << 9;
        put(&mut block, QS + 2 * i, &q.to_le_bytes());
    }
    put(&mut block, SCALES, &pack::<4, 8>(&fit.scales, 1));
    block
}
