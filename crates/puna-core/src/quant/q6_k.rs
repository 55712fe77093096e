//! Q6_K: 16 sub-blocks of 16 values of 6 bits around a middle of 32, signed byte scales:
//! `y = d · scale[e / 16] · (q − 32)`.

use super::fit::Linear;
use super::layout::{f16_at, pack, put, put_f16, unpack};
use super::super_block::{SymmetricBlock, signed_codes};

/// Values in a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 210;
/// 128 bytes: each 64 hold the low bits of 64 values in their low nibbles, then of 64 in their high nibbles.
pub const QL: usize = 0;
/// 64 bytes: each 32 hold the upper bits of four runs of 32 values, one run per 2-bit plane, lowest bits first.
pub const QH: usize = 128;
/// 16 × i8 scales.
pub const SCALES: usize = 192;
/// f16 scale of the scales.
pub const D: usize = 208;

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at(block, D);
    let low = unpack::<4, LEN>(&block[QL..QH], 64);
    let high = unpack::<2, LEN>(&block[QH..SCALES], 32);
    for (e, y) in out.iter_mut().enumerate() {
        let q = f32::from(low[e] | high[e] << 4) - 32.0;
        *y = d * f32::from(block[SCALES + e / 16] as i8) * q;
    }
}

/// Packs a block, minimising the squared error weighted by column importance (or by x²).
pub fn quantize_block(x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [u8; BYTES] {
    let mut scales = [0.0; 16];
    for (s, x) in x.as_chunks::<16>().0.iter().enumerate() {
        let w = importance.map_or_else(|| x.map(|v| v * v), |w| w.as_chunks().0[s]);
        scales[s] = Linear::signed(x, &w, 32).scale;
    }
    let (d, codes) = signed_codes(&scales, 128);
    let fit = SymmetricBlock::new(x, d, codes, 32);
    let q = fit.q.map(|q| (q + 32) as u8);

    let mut block = [0; BYTES];
    put(&mut block, QL, &pack::<4, 128>(&q, 64));
    put(&mut block, QH, &pack::<2, 64>(&q.map(|q| q >> 4), 32));
    put(&mut block, SCALES, &fit.scales.map(|s| s as u8));
    put_f16(&mut block, D, fit.d);
    block
}
