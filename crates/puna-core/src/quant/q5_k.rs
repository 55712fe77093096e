//! Q5_K: Q4_K with a fifth bit for each value: `y = d · scale[e / 32] · q − dmin · min[e / 32]`.

use super::fit::Search;
use super::layout::{f16_at, pack, put, put_f16, unpack};
use super::q4_k::{expand, pack_scales};
use super::super_block::{AffineBlock, AffineKind};

/// Values in a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 176;
/// f16 scale of the scales.
pub const D: usize = 0;
/// f16 scale of the minima.
pub const DMIN: usize = 2;
/// 12 bytes of scales and minima, see [`super::q4_k::unpack_scales`].
pub const SCALES: usize = 4;
/// 32 bytes: bit `e / 32` of byte `e % 32` is the fifth bit of value `e`.
pub const QH: usize = 16;
/// 128 bytes: each 32 hold a run of 32 values in their low nibbles, then one in their high nibbles.
pub const QS: usize = 48;

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let scales = core::array::from_fn(|i| block[SCALES + i]);
    let mut q = unpack::<4, LEN>(&block[QS..], 32);
    for (q, high) in q.iter_mut().zip(unpack::<1, LEN>(&block[QH..QS], 32)) {
        *q |= high << 4;
    }
    expand(f16_at(block, D), f16_at(block, DMIN), &scales, &q, out);
}

/// Packs a block, minimising the squared error weighted by column importance (or by rms + |x|).
pub fn quantize_block(x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [u8; BYTES] {
    const KIND: AffineKind = AffineKind {
        q_max: 31,
        scale_max: 63,
        search: Search { first: -0.5, step: 0.1, tries: 16 },
        absolute: false,
        level: 2.0,
    };
    let fit = AffineBlock::<8>::fit::<32>(x, importance, &KIND);
    let mut block = [0; BYTES];
    put_f16(&mut block, D, fit.d);
    put_f16(&mut block, DMIN, fit.dmin);
    put(&mut block, SCALES, &pack_scales(&fit.scales, &fit.mins));
    put(&mut block, QH, &pack::<1, 32>(&fit.q.map(|q| q >> 4), 32));
    put(&mut block, QS, &pack::<4, 128>(&fit.q, 32));
    block
}
