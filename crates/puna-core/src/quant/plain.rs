//! F32, F16 and BF16: values stored one by one, little-endian.

use half::{bf16, f16};

/// Reads an F32 value.
pub fn f32_decode(bytes: &[u8; 4], out: &mut [f32; 1]) {
    *out = [f32::from_le_bytes(*bytes)];
}

/// Writes an F32 value.
pub fn f32_encode(x: &[f32; 1]) -> [u8; 4] {
    x[0].to_le_bytes()
}

/// Reads an IEEE binary16 value.
pub fn f16_decode(bytes: &[u8; 2], out: &mut [f32; 1]) {
    *out = [f16::from_le_bytes(*bytes).to_f32()];
}

/// Rounds to the nearest binary16 value, ties to even; 65520 and beyond become infinite.
pub fn f16_encode(x: &[f32; 1]) -> [u8; 2] {
    f16::from_f32(x[0]).to_le_bytes()
}

/// Reads a bfloat16 value: the upper half of the f32 of the same bits (signalling NaNs stay as they are).
pub fn bf16_decode(bytes: &[u8; 2], out: &mut [f32; 1]) {
    *out = [f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16)];
}

/// Rounds to the nearest bfloat16 value, ties to even; NaNs become quiet.
pub fn bf16_encode(x: &[f32; 1]) -> [u8; 2] {
    bf16::from_f32(x[0]).to_le_bytes()
}
