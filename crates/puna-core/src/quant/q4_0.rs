//! Q4_0: 32 values of 4 bits around a middle of 8, one scale: `y = d · (q − 8)`.

use super::fit::{Linear, inverse, peak};
use super::layout::{f16_at, pack, put, put_f16, unpack};

/// Values in a block.
pub const LEN: usize = 32;
/// Bytes of a block.
pub const BYTES: usize = 18;
/// f16 scale `d`.
pub const D: usize = 0;
/// 16 bytes: byte `i` holds value `i` in its low and value `16 + i` in its high nibble.
pub const QS: usize = 2;

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at(block, D);
    let q = unpack::<4, LEN>(&block[QS..], 16);
    for (y, q) in out.iter_mut().zip(q) {
        *y = d * (f32::from(q) - 8.0);
    }
}

/// Packs a block. `weights` are error weights for a least squares fit; without them the peak becomes −8 · d.
pub fn quantize_block(x: &[f32; LEN], weights: Option<&[f32; LEN]>) -> [u8; BYTES] {
    let (d, q) = if let Some(weights) = weights {
        let fit = Linear::signed(x, weights, 8);
        (fit.scale, fit.q.map(|q| (q + 8) as u8))
    } else {
        let d = peak(x) / -8.0;
        let inverse = inverse(d);
        (d, x.map(|v| ((v * inverse + 8.5) as u8).min(15)))
    };
    let mut block = [0; BYTES];
    put_f16(&mut block, D, d);
    put(&mut block, QS, &pack::<4, 16>(&q, 16));
    block
}
