//! MXFP4: 32 values of the 4-bit float e2m1 under a shared power of two: `y = 2^(x − 128) · VALUES[q]`.
//!
//! Source: OCP Microscaling Formats (MX) Specification, version 1.0; the nibble order is GGUF's.

use super::fit::peak;
use super::layout::{pack, put, unpack};

/// Values in a block.
pub const LEN: usize = 32;
/// Bytes of a block.
pub const BYTES: usize = 17;
/// u8 exponent `x`, biased by 127 (by 128 against [`VALUES`]).
pub const E: usize = 0;
/// 16 bytes: byte `i` holds value `i` in its low and value `16 + i` in its high nibble.
pub const QS: usize = 1;

/// Twice the values of the e2m1 codes, which are whole.
pub const VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// `2^(exponent − 128)`: half the scale that the exponent stands for, as [`VALUES`] are doubled.
pub const fn half_scale(exponent: u8) -> f32 {
    f32::from_bits(match exponent {
        // Below the smallest normal f32.
        0 | 1 => 0x0020_0000 << exponent,
        _ => (exponent as u32 - 1) << 23,
    })
}

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = half_scale(block[E]);
    let q = unpack::<4, LEN>(&block[QS..], 16);
    for (y, q) in out.iter_mut().zip(q) {
        *y = d * f32::from(VALUES[usize::from(q)]);
    }
}

/// Packs a block: the peak's power of two sets the exponent, each value takes the nearest code.
pub fn quantize_block(x: &[f32; LEN]) -> [u8; BYTES] {
    let peak = peak(x).abs();
    // The largest code is 6 = 1.5 · 2². Conversion to u8 saturates, so tiny and infinite peaks are fine.
    let exponent = if peak > 0.0 { (libm::floorf(libm::log2f(peak)) - 2.0 + 127.0) as u8 } else { 0 };
    let d = half_scale(exponent);
    let mut block = [0; BYTES];
    block[E] = exponent;
    put(&mut block, QS, &pack::<4, 16>(&x.map(|v| nearest_code(v, d)), 16));
    block
}

/// The code nearest to `x` under scale `d`, the first of equals.
fn nearest_code(x: f32, d: f32) -> u8 {
    let error = |code: u8| (d * f32::from(VALUES[usize::from(code)]) - x).abs();
    (1..16).fold(0, |best, code| if error(code) < error(best) { code } else { best })
}
