//! IQ3_XXS: 8 groups of 32 values; each group has eight indices into a grid of 4 levels, 28 sign bits and a 4-bit
//! scale: `y = ± d · (½ + scale) / 2 · level`.

use super::codebook::{self, even_signs};
use super::layout::{f16_at, u32_at};

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
