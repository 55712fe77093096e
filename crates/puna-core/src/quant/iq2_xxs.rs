//! IQ2_XXS: 8 groups of 32 values; each group has four indices into a grid of 8 levels, 28 sign bits and a 4-bit
//! scale: `y = ± d · (½ + scale) / 4 · level`.

use super::codebook::{self, even_signs};
use super::grid::Grid;
use super::grid_fit::{GridBlock, GridKind, Tries};
use super::grids;
use super::layout::{f16_at, put, put_f16, u32_at};

/// Values in a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 66;
/// f16 scale `d`.
pub const D: usize = 0;
/// 8 × 8 bytes: four u8 grid indices, then a u32 of four 7-bit sign sets (lowest first) and the scale on top.
pub const GROUPS: usize = 2;

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at(block, D);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let at = GROUPS + 8 * group;
        let tail = u32_at(block, at + 4);
        let scale = d * (0.5 + (tail >> 28) as f32) * 0.25;
        for (l, out) in out.chunks_exact_mut(8).enumerate() {
            let entry = &codebook::IQ2_XXS[usize::from(block[at + l])];
            codebook::expand(scale, entry, even_signs(tail >> (7 * l)), out);
        }
    }
}

/// The codebook, to be searched.
pub(super) fn grid() -> Grid<8> {
    Grid::new(&grids::IQ2_XXS, 3, 2)
}

/// Packs a block, minimising the squared error weighted by column importance (or by what is large).
pub(super) fn quantize_block(grid: &Grid<8>, x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [u8; BYTES] {
    const KIND: GridKind = GridKind {
        top: 2,
        even: true,
        level: 1.0,
        level_alone: 0.5,
        tiny: 1e-15,
        around_best: true,
        tries: Tries { reach: 6, step: 0.1, again: false },
        correction: 1.0,
    };
    let mut block = [0; BYTES];
    let Some(fit) = GridBlock::<8>::fit::<32, 8>(grid, &KIND, x, importance) else { return block };
    put_f16(&mut block, D, fit.d);
    for s in 0..8 {
        let at = GROUPS + 8 * s;
        put(&mut block, at, &core::array::from_fn::<u8, 4, _>(|l| fit.index[s][l] as u8));
        put(&mut block, at + 4, &sign_word(&fit.signs[s], fit.scales[s]).to_le_bytes());
    }
    block
}

/// Seven bits of each four signs, the first lowest, and a scale on top.
pub(super) fn sign_word(signs: &[u8; 4], scale: u8) -> u32 {
    signs.iter().rev().fold(u32::from(scale), |word, signs| word << 7 | u32::from(signs & 0x7F))
}
