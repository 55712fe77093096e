//! IQ3_XXS: 8 groups of 32 values; each group has eight indices into a grid of 4 levels, 28 sign bits and a 4-bit
//! scale: `y = ± d · (½ + scale) / 2 · level`.

use super::codebook::{self, even_signs};
use super::grid::Grid;
use super::grid_fit::{GridBlock, GridKind, Tries};
use super::grids;
use super::iq2_xxs::sign_word;
use super::layout::{f16_at, put, put_f16, u32_at};

/// Values in a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 98;
/// f16 scale `d`.
pub const D: usize = 0;
/// 64 × u8 grid indices.
pub const QS: usize = 2;
/// 8 × u32: four 7-bit sign sets (lowest first), each for two entries, and the scale on top.
pub const TAILS: usize = 66;

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at(block, D);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let tail = u32_at(block, TAILS + 4 * group);
        let scale = d * (0.5 + (tail >> 28) as f32) * 0.5;
        for (c, out) in out.chunks_exact_mut(4).enumerate() {
            let entry = &codebook::IQ3_XXS[usize::from(block[QS + 8 * group + c])];
            let signs = even_signs(tail >> (7 * (c / 2))) >> (4 * (c % 2));
            codebook::expand(scale, entry, signs, out);
        }
    }
}

/// The codebook, to be searched.
pub(super) fn grid() -> Grid<4> {
    Grid::new(&grids::IQ3_XXS, 8, 2)
}

/// Packs a block, minimising the squared error weighted by column importance (or by x²).
pub(super) fn quantize_block(grid: &Grid<4>, x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [u8; BYTES] {
    const KIND: GridKind = GridKind {
        top: 7,
        even: true,
        level: 2.0,
        level_alone: 0.0,
        tiny: 1e-8,
        around_best: false,
        tries: Tries { reach: 15, step: 0.2, again: true },
        correction: 1.0125,
    };
    let mut block = [0; BYTES];
    let Some(fit) = GridBlock::<8>::fit::<32, 4>(grid, &KIND, x, importance) else { return block };
    put_f16(&mut block, D, fit.d);
    for s in 0..8 {
        put(&mut block, QS + 8 * s, &fit.index[s].map(|index| index as u8));
        put(&mut block, TAILS + 4 * s, &sign_word(&fit.signs[s], fit.scales[s]).to_le_bytes());
    }
    block
}
