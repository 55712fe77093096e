//! IQ3_S: 8 sub-blocks of 32 values; 9-bit grid indices of 4 odd levels, a sign bit for every value, 4-bit scales:
//! `y = ± d · (1 + 2 · scale) · level`.

use super::codebook;
use super::layout::{f16_at, unpack};

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
