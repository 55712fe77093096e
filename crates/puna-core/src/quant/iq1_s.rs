//! IQ1_S: 8 sub-blocks of 32 values; 11-bit indices into a ternary grid, 3-bit scales and a common shift of ±⅛:
//! `y = d · (2 · scale + 1) · (level ± ⅛)`.

use super::codebook;
use super::layout::{f16_at, u16_at};

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
