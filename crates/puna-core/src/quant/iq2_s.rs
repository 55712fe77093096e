//! IQ2_S: 16 sub-blocks of 16 values; 10-bit grid indices of 8 levels, a full byte of signs each, 4-bit scales:
//! `y = ± d · (½ + scale) / 4 · level`.

use super::codebook;
use super::layout::{f16_at, unpack};

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
