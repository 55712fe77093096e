//! TQ1_0: 256 ternary values at five to a byte, one scale: `y = d · (trit − 1)`.
//!
//! A byte holds trits t₀…t₄ (t₀ first) as `⌈256 / 243 · Σ 3^(4−n) · tₙ⌉`, a fraction of 256 whose leading base-3
//! digit is t₀: multiplying by 3 carries digit after digit out of the byte.

use super::fit::{inverse, peak};
use super::layout::{f16_at, put_f16};

/// Values in a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 54;
/// 48 bytes of five trits. Trit `n` of byte `i < 32` is value `32n + i`; of byte `32 + i`, value `160 + 16n + i`.
pub const QS: usize = 0;
/// 4 bytes of four trits: trit `n` of byte `i` is value `240 + 4n + i`.
pub const QH: usize = 48;
/// f16 scale `d`.
pub const D: usize = 52;

/// The three stretches of a block: first byte, bytes, trits in a byte, first value.
const STRETCHES: [(usize, usize, usize, usize); 3] = [(QS, 32, 5, 0), (QS + 32, 16, 5, 160), (QH, 4, 4, 240)];

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at(block, D);
    for (byte, bytes, trits, first) in STRETCHES {
        for i in 0..bytes {
            let mut rest = block[byte + i];
            for n in 0..trits {
                let trit = (u16::from(rest) * 3) >> 8;
                out[first + n * bytes + i] = d * (f32::from(trit) - 1.0);
                rest = rest.wrapping_mul(3);
            }
        }
    }
}

/// Packs a block; the largest magnitude becomes ±d.
pub fn quantize_block(x: &[f32; LEN]) -> [u8; BYTES] {
    let d = peak(x).abs();
    let trits = trits(x, d);
    let mut block = [0; BYTES];
    for (byte, bytes, in_byte, first) in STRETCHES {
        for i in 0..bytes {
            let digit = |n: usize| {
                if n < in_byte { u16::from(trits[first + n * bytes + i]) } else { 0 }
            };
            let sum = (0..5).fold(0, |sum, n| sum * 3 + digit(n));
            block[byte + i] = (sum * 256).div_ceil(243) as u8;
        }
    }
    put_f16(&mut block, D, d);
    block
}

/// Values as multiples −1, 0, 1 of `d`, plus 1.
pub(super) fn trits(x: &[f32; LEN], d: f32) -> [u8; LEN] {
    let inverse = inverse(d);
    x.map(|v| (libm::roundf(v * inverse).clamp(-1.0, 1.0) + 1.0) as u8)
}
