//! Q3_K: 16 sub-blocks of 16 values of 3 bits around a middle of 4, 6-bit scales around a middle of 32:
//! `y = d · (scale[e / 16] − 32) · (q − 4)`.

use super::fit::{Linear, mean_square, weigh};
use super::layout::{f16_at, pack, put, put_f16, unpack};
use super::super_block::{SymmetricBlock, signed_codes};

/// Values in a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 110;
/// 32 bytes: bit `e / 32` of byte `e % 32` is the third bit of value `e`.
pub const HMASK: usize = 0;
/// 64 bytes: each 32 hold four runs of 32 values, one run per 2-bit plane, lowest bits first.
pub const QS: usize = 32;
/// 12 bytes of scales: 8 with the low nibbles of scales 0…7 (low) and 8…15 (high), then 4 whose four 2-bit planes
/// hold the upper bits of scales 0…3, 4…7, 8…11 and 12…15.
pub const SCALES: usize = 96;
/// f16 scale of the scales.
pub const D: usize = 108;

/// The 6-bit scales, their middle of 32 taken off.
pub fn unpack_scales(packed: &[u8; 12]) -> [i8; 16] {
    let low = unpack::<4, 16>(&packed[..8], 8);
    let high = unpack::<2, 16>(&packed[8..], 4);
    core::array::from_fn(|s| (low[s] | high[s] << 4) as i8 - 32)
}

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at(block, D);
    let scales = unpack_scales(&core::array::from_fn(|i| block[SCALES + i]));
    let low = unpack::<2, LEN>(&block[QS..SCALES], 32);
    let high = unpack::<1, LEN>(&block[HMASK..QS], 32);
    for (e, y) in out.iter_mut().enumerate() {
        let q = f32::from(low[e] | high[e] << 2) - 4.0;
        *y = d * f32::from(scales[e / 16]) * q;
    }
}

/// Packs a block, minimising the error weighted by column importance (or by x²).
pub fn quantize_block(x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [u8; BYTES] {
    let level = 2.0 * mean_square(x);
    let (mut scales, mut weight) = ([0.0; 16], [0.0; 16]);
    for (s, x) in x.as_chunks::<16>().0.iter().enumerate() {
        scales[s] = if let Some(importance) = importance {
            let w = weigh(x, &importance.as_chunks().0[s], level);
            weight[s] = w.iter().sum();
            Linear::signed(x, &w, 4).scale
        } else {
            Linear::signed_refined(x, &x.map(|v| v * v), 4).scale
        };
    }
    let (d, codes) = if importance.is_some() {
        let fit = Linear::signed(&scales, &weight, 32);
        (fit.scale, fit.q)
    } else {
        signed_codes(&scales, 32)
    };
    let fit = SymmetricBlock::new(x, d, codes, 4);
    let codes = fit.scales.map(|s| (s + 32) as u8);
    let q = fit.q.map(|q| (q + 4) as u8);

    let mut block = [0; BYTES];
    put(&mut block, HMASK, &pack::<1, 32>(&q.map(|q| q >> 2), 32));
    put(&mut block, QS, &pack::<2, 64>(&q, 32));
    put(&mut block, SCALES, &pack::<4, 8>(&codes, 8));
    put(&mut block, SCALES + 8, &pack::<2, 4>(&codes.map(|s| s >> 4), 4));
    put_f16(&mut block, D, fit.d);
    block
}
