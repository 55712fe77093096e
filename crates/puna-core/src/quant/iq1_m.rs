//! IQ1_M: 16 sub-blocks of 16 values; 11-bit indices into a ternary grid, a shift of ±⅛ for each, 3-bit scales:
//! `y = d · (2 · scale + 1) · (level ± ⅛)`.

use half::f16;

use super::codebook;
use super::layout::{u16_at, unpack};

/// Values in a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 56;
/// 32 bytes: the low bits of the grid indices.
pub const QS: usize = 0;
/// 16 bytes: nibble `i` (low nibble first) holds the upper 3 bits of index `i` and a 1 for the shift −⅛.
pub const QH: usize = 32;
/// 4 × u16: four 3-bit scales each, lowest first; their top nibbles, first u16 lowest, are the f16 scale `d`.
pub const SCALES: usize = 48;

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let scales: [u16; 4] = core::array::from_fn(|i| u16_at(block, SCALES + 2 * i));
    let d = f16::from_bits(scales.iter().rev().fold(0, |bits, s| bits << 4 | s >> 12)).to_f32();
    let high = unpack::<4, 32>(&block[QH..SCALES], 1);
    for (i, out) in out.chunks_exact_mut(8).enumerate() {
        let scale = d * f32::from(2 * (scales[i / 8] >> (3 * (i / 2 % 4)) & 7) + 1);
        let index = usize::from(block[QS + i]) | usize::from(high[i] & 7) << 8;
        codebook::expand_shifted(scale, index, high[i] >> 3 == 1, out);
    }
}
