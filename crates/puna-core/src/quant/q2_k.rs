//! Q2_K: 16 sub-blocks of 16 values of 2 bits, 4-bit scales and minima:
//! `y = d · scale[e / 16] · q − dmin · min[e / 16]`.

use super::fit::Search;
use super::layout::{f16_at, pack, put, put_f16, unpack};
use super::super_block::{AffineBlock, AffineKind};

/// Values in a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 84;
/// 16 bytes: scale of a sub-block in the low nibble, minimum in the high one.
pub const SCALES: usize = 0;
/// 64 bytes: each 32 hold four runs of 32 values, one run per 2-bit plane, lowest bits first.
pub const QS: usize = 16;
/// f16 scale of the scales.
pub const D: usize = 80;
/// f16 scale of the minima.
pub const DMIN: usize = 82;

/// Expands a block.
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let (d, dmin) = (f16_at(block, D), f16_at(block, DMIN));
    let q = unpack::<2, LEN>(&block[QS..D], 32);
    for (s, (out, q)) in out.chunks_exact_mut(16).zip(q.chunks_exact(16)).enumerate() {
        let packed = block[SCALES + s];
        let (scale, min) = (d * f32::from(packed & 15), dmin * f32::from(packed >> 4));
        for (y, q) in out.iter_mut().zip(q) {
            *y = scale * f32::from(*q) - min;
        }
    }
}

/// Packs a block, minimising the error weighted by column importance (or by |x|).
pub fn quantize_block(x: &[f32; LEN], importance: Option<&[f32; LEN]>) -> [u8; BYTES] {
    const KIND: AffineKind = AffineKind {
        q_max: 3,
        scale_max: 15,
        search: Search { first: -0.5, step: 0.1, tries: 16 },
        absolute: true,
        level: 1.0,
    };
    let fit = AffineBlock::<16>::fit::<16>(x, importance, &KIND);
    let mut block = [0; BYTES];
    for s in 0..16 {
        block[SCALES + s] = fit.scales[s] | fit.mins[s] << 4;
    }
    put(&mut block, QS, &pack::<2, 64>(&fit.q, 32));
    put_f16(&mut block, D, fit.d);
    put_f16(&mut block, DMIN, fit.dmin);
    block
}
