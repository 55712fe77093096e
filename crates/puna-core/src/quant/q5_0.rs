//! Q5_0: 32 values of 5 bits around a middle of 16, one scale: `y = d · (q − 16)`.

use super::fit::{Linear, inverse, peak};
use super::layout::{f16_at, pack, put, put_f16, u32_at, unpack};

/// Values in a block.
pub const LEN: usize = 32;
/// Bytes of a block.
pub const BYTES: usize = 22;
/// f16 scale `d`.
pub const D: usize = 0;
/// u32: bit `i` is the fifth bit of value `i`.
pub const QH: usize = 2;
/// 16 bytes: byte `i` holds the low bits of value `i` in its low and of value `16 + i` in its high nibble.
pub const QS: usize = 6;

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at(block, D);
    let q = codes(u32_at(block, QH), &block[QS..]);
    for (y, q) in out.iter_mut().zip(q) {
        *y = d * (f32::from(q) - 16.0);
    }
}

/// Packs a block. `weights` are error weights for a least squares fit; without them the peak becomes −16 · d.
pub fn quantize_block(x: &[f32; LEN], weights: Option<&[f32; LEN]>) -> [u8; BYTES] {
    let (d, q) = if let Some(weights) = weights {
        let fit = Linear::signed(x, weights, 16);
        (fit.scale, fit.q.map(|q| (q + 16) as u8))
    } else {
        let d = peak(x) / -16.0;
        let inverse = inverse(d);
        (d, x.map(|v| ((v * inverse + 16.5) as u8).min(31)))
    };
    let mut block = [0; BYTES];
    put_f16(&mut block, D, d);
    put(&mut block, QH, &high_bits(&q));
    put(&mut block, QS, &pack::<4, 16>(&q, 16));
    block
}

/// The 5-bit codes of a block.
pub(super) fn codes(high: u32, low: &[u8]) -> [u8; LEN] {
    let mut q = unpack::<4, LEN>(low, 16);
    for (i, q) in q.iter_mut().enumerate() {
        *q |= ((high >> i) as u8 & 1) << 4;
    }
    q
}

/// The field `QH` of 5-bit codes.
pub(super) fn high_bits(q: &[u8; LEN]) -> [u8; 4] {
    q.iter().rev().fold(0u32, |bits, q| bits << 1 | u32::from(q >> 4 & 1)).to_le_bytes()
}
