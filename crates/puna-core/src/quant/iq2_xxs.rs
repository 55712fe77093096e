//! IQ2_XXS: 8 groups of 32 values; each group has four indices into a grid of 8 levels, 28 sign bits and a 4-bit
//! scale: `y = ± d · (½ + scale) / 4 · level`.

use super::codebook::{self, even_signs};
use super::layout::{f16_at, u32_at};

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
