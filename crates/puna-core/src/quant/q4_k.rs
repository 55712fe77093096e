//! Q4_K: 8 sub-blocks of 32 values of 4 bits, 6-bit scales and minima:
//! `y = d · scale[e / 32] · q − dmin · min[e / 32]`.

use super::fit::Search;
use super::layout::{f16_at, pack, put, put_f16, unpack};
use super::super_block::{AffineBlock, AffineKind};

/// Values in a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 144;
/// f16 scale of the scales.
pub const D: usize = 0;
/// f16 scale of the minima.
pub const DMIN: usize = 2;
/// 12 bytes of scales and minima, see [`unpack_scales`].
pub const SCALES: usize = 4;
/// 128 bytes: each 32 hold a run of 32 values in their low nibbles, then one in their high nibbles.
pub const QS: usize = 16;

/// The 6-bit scales and minima of the 8 sub-blocks.
///
/// Bytes 0…3 and 4…7 hold scales 0…3 and minima 0…3 in their low six bits. Bytes 8…11 hold the low nibbles of
/// scales 4…7 (low) and minima 4…7 (high), whose upper two bits are those of bytes 0…3 and 4…7.
pub fn unpack_scales(packed: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut mins) = ([0; 8], [0; 8]);
    for i in 0..4 {
        let (scale, min, low) = (packed[i], packed[4 + i], packed[8 + i]);
        (scales[i], mins[i]) = (scale & 63, min & 63);
        (scales[4 + i], mins[4 + i]) = (low & 15 | scale >> 6 << 4, low >> 4 | min >> 6 << 4);
    }
    (scales, mins)
}

/// The inverse of [`unpack_scales`].
pub fn pack_scales(scales: &[u8; 8], mins: &[u8; 8]) -> [u8; 12] {
    let mut packed = [0; 12];
    for i in 0..4 {
        packed[i] = scales[i] | scales[4 + i] >> 4 << 6;
        packed[4 + i] = mins[i] | mins[4 + i] >> 4 << 6;
        packed[8 + i] = scales[4 + i] & 15 | mins[4 + i] << 4;
    }
    packed
}

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let scales = core::array::from_fn(|i| block[SCALES + i]);
    expand(f16_at(block, D), f16_at(block, DMIN), &scales, &unpack::<4, LEN>(&block[QS..], 32), out);
}

/// Applies the scales and minima to the codes.
pub(super) fn expand(d: f32, dmin: f32, scales: &[u8; 12], q: &[u8; LEN], out: &mut [f32; LEN]) {
    let (scales, mins) = unpack_scales(scales);
    for (s, (out, q)) in out.chunks_exact_mut(32).zip(q.chunks_exact(32)).enumerate() {
        let (scale, min) = (d * f32::from(scales[s]), dmin * f32::from(mins[s]));
        for (y, q) in out.iter_mut().zip(q) {
            *y = scale * f32::from(*q) - min;
        }
    }
}

/// Packs a block, minimising the squared error weighted by column importance (or by rms + |x|).
pub fn quantize_block(x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [u8; BYTES] {
    const KIND: AffineKind = AffineKind {
        q_max: 15,
        scale_max: 63,
        search: Search { first: -1.0, step: 0.1, tries: 21 },
        absolute: false,
        level: 2.0,
    };
    let fit = AffineBlock::<8>::fit::<32>(x, importance, &KIND);
    let mut block = [0; BYTES];
    put_f16(&mut block, D, fit.d);
    put_f16(&mut block, DMIN, fit.dmin);
    put(&mut block, SCALES, &pack_scales(&fit.scales, &fit.mins));
    put(&mut block, QS, &pack::<4, 128>(&fit.q, 32));
    block
}
