//! Q8_0: 32 signed bytes and one scale: `y = d · q`.

use super::fit::{inverse, peak};
use super::layout::{f16_at, put_f16};

/// Values in a block.
pub const LEN: usize = 32;
/// Bytes of a block.
pub const BYTES: usize = 34;
/// f16 scale `d`.
pub const D: usize = 0;
/// 32 × i8.
pub const QS: usize = 2;

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at(block, D);
    for (y, q) in out.iter_mut().zip(&block[QS..]) {
        *y = d * f32::from(*q as i8);
    }
}

/// Packs a block; the largest magnitude becomes ±127.
pub fn quantize_block(x: &[f32; LEN]) -> [u8; BYTES] {
    let d = peak(x).abs() / 127.0;
    let inverse = inverse(d);
    let mut block = [0; BYTES];
    put_f16(&mut block, D, d);
    for (q, v) in block[QS..].iter_mut().zip(x) {
        *q = libm::roundf(v * inverse) as i8 as u8;
    }
    block
}
