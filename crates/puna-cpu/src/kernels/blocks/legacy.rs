//! Formats of 32 values: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, MXFP4.

use super::columns::{To, by_columns, high_half, less, looked_up, low_half, nibbles, words};
use super::{Affine, Block, Symmetric, bytes_at};
use crate::kernels::dot::Groups;
use crate::kernels::lanes::Columns;
use crate::kernels::lanes::columns::ROWS;
use crate::kernels::slab::Keep;
use puna_core::quant::{iq4_nl, mxfp4, q4_0, q4_1, q5_0, q5_1, q8_0};

/// Codes of five bits less 16, from their nibbles: less 16 where the fifth bit is clear. The fifth bits of the first 16 codes
/// are those of `bits[0]` from bit `4 * four[0]` on, those of the others in `bits[1]` from `4 * four[1]` on.
#[inline(always)]
fn with_fifth<L: Columns>(l: L, mut codes: [L::T; 8], bits: [L::T; 2], four: [usize; 2]) -> [L::T; 8] {
    for (i, code) in codes.iter_mut().enumerate() {
        let clear = l.tclear(bits[i / 4], four[i / 4] + i % 4);
        *code = l.tor(*code, l.tand(clear, l.tsplat8(-16)));
    }
    codes
}

by_columns!(Q4_0, q4_0, 1, Symmetric<16>, Groups<Self>, |l, blocks, at, keep| {
    let d = low_half(l, words!(l, blocks, q4_0::D)[0]);
    let codes = less(l, nibbles(l, words!(l, blocks, q4_0::QS)), 8);
    keep.keep(l, at, codes, [d; 2], [d; 2]);
});

by_columns!(Q4_1, q4_1, 1, Affine, Groups<Self>, |l, blocks, at, keep| {
    let dm = words!(l, blocks, q4_1::D)[0];
    let (d, m) = (low_half(l, dm), high_half(l, dm));
    let codes = nibbles(l, words!(l, blocks, q4_1::QS));
    // What is subtracted: the format adds it.
    let min = l.gmul(m, l.gsplat(-1.0));
    keep.keep(l, at, codes, [d; 2], [min; 2]);
});

by_columns!(Q5_0, q5_0, 1, Symmetric<16>, Groups<Self>, |l, blocks, at, keep| {
    // The fifth bits are the second half of the first word and the first half of the next.
    let [head, next, ..] = words!(l, blocks, q5_0::D);
    let d = low_half(l, head);
    let codes = nibbles(l, words!(l, blocks, q5_0::QS));
    keep.keep(l, at, with_fifth(l, codes, [head, next], [4, 0]), [d; 2], [d; 2]);
});

by_columns!(Q5_1, q5_1, 1, Affine, Groups<Self>, |l, blocks, at, keep| {
    let [dm, fifth, ..] = words!(l, blocks, q5_1::D);
    let (d, m) = (low_half(l, dm), high_half(l, dm));
    let codes = nibbles(l, words!(l, blocks, q5_1::QS));
    // What is subtracted: the format adds it, to codes that are 16 more.
    let min = l.gfnma(d, l.gsplat(16.0), l.gmul(m, l.gsplat(-1.0)));
    keep.keep(l, at, with_fifth(l, codes, [fifth; 2], [0, 4]), [d; 2], [min; 2]);
});

by_columns!(Q8_0, q8_0, 1, Symmetric<128>, Groups<Self>, |l, blocks, at, keep| {
    let d = low_half(l, words!(l, blocks, q8_0::D)[0]);
    let [low, high] = [words!(l, blocks, q8_0::QS), words!(l, blocks, q8_0::QS + 16)];
    let [[a, b, c, d0], [e, f, g, h]] = [low, high];
    keep.keep(l, at, [a, b, c, d0, e, f, g, h], [d; 2], [d; 2]);
});

by_columns!(IQ4_NL, iq4_nl, 1, Symmetric<128>, Groups<Self>, |l, blocks, at, keep| {
    let d = low_half(l, words!(l, blocks, iq4_nl::D)[0]);
    let codes = looked_up(l, &iq4_nl::VALUES, nibbles(l, words!(l, blocks, iq4_nl::QS)));
    keep.keep(l, at, codes, [d; 2], [d; 2]);
});

by_columns!(MXFP4, mxfp4, 1, Symmetric<16>, Groups<Self>, |l, blocks, at, keep| {
    let mut scales = [0.0; ROWS];
    let eights = scales.as_chunks_mut().0.iter_mut().zip(blocks.as_chunks::<8>().0);
    for (scales, blocks) in eights.take(L::LANES / 8) {
        l.fstore(l.fload_e8m0(&blocks.map(|block| block[mxfp4::E])), scales);
    }
    let d = l.gload(&scales);
    let codes = looked_up(l, &mxfp4::VALUES, nibbles(l, words!(l, blocks, mxfp4::QS)));
    keep.keep(l, at, codes, [d; 2], [d; 2]);
});
