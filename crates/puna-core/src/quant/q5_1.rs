//! Q5_1: 32 values of 5 bits, a scale and a minimum: `y = d · q + m`.

use super::layout::{f16_at, pack, put, put_f16, u32_at};
use super::{q4_1, q5_0};

/// Values in a block.
pub const LEN: usize = 32;
/// Bytes of a block.
pub const BYTES: usize = 24;
/// f16 scale `d`.
pub const D: usize = 0;
/// f16 minimum `m`.
pub const M: usize = 2;
/// u32: bit `i` is the fifth bit of value `i`.
pub const QH: usize = 4;
/// 16 bytes: byte `i` holds the low bits of value `i` in its low and of value `16 + i` in its high nibble.
pub const QS: usize = 8;

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let (d, m) = (f16_at(block, D), f16_at(block, M));
    let q = q5_0::codes(u32_at(block, QH), &block[QS..]);
    for (y, q) in out.iter_mut().zip(q) {
        *y = d * f32::from(q) + m;
    }
}

/// Packs a block. `weights` are error weights for a least squares fit; without them the range is cut evenly.
pub fn quantize_block(x: &[f32; LEN], weights: Option<&[f32; LEN]>) -> [u8; BYTES] {
    let (d, m, q) = q4_1::fit(x, weights, 31);
    let mut block = [0; BYTES];
    put_f16(&mut block, D, d);
    put_f16(&mut block, M, m);
    put(&mut block, QH, &q5_0::high_bits(&q));
    put(&mut block, QS, &pack::<4, 16>(&q, 16));
    block
}
