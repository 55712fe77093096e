//! Formats of 256 values with integer scales for sub-blocks: Q2_K to Q6_K and IQ4_XS.

use super::columns::{To, by_columns, high_half, less, looked_up, low_half, nibbles, two_bits, words};
use super::{Affine, AffineHalves, Block, Symmetric, SymmetricHalves, bytes_at};
use crate::kernels::dot::{SixBits, SuperBlocks};
use crate::kernels::lanes::Columns;
use crate::kernels::lanes::columns::ROWS;
use crate::kernels::slab::Keep;
use puna_core::quant::{iq4_nl, iq4_xs, q2_k, q3_k, q4_k, q5_k, q6_k};

/// The scales of the two halves of step `s`, `d` times the integers that are the bytes of four words.
#[inline(always)]
fn half_scales<L: Columns>(l: L, d: L::G, integers: [L::T; 4], s: usize) -> [L::G; 2] {
    let mut scale = [d; 2];
    for (half, scale) in scale.iter_mut().enumerate() {
        *scale = l.gmul(d, l.to_g(l.tbyte(integers[s / 2], s % 2 * 2 + half)));
    }
    scale
}

by_columns!(Q2_K, q2_k, 8, AffineHalves, SuperBlocks<Self>, |l, blocks, at, keep| {
    // The factors are the last of the last 16 bytes.
    let factors = words!(l, blocks, q2_k::D + 4 - 16)[3];
    let (d, dmin) = (low_half(l, factors), high_half(l, factors));
    let mut scales = words!(l, blocks, q2_k::SCALES);
    let mut mins = scales;
    for (scale, min) in scales.iter_mut().zip(&mut mins) {
        *scale = l.tand(*scale, l.tsplat8(15));
        *min = l.tand(l.tdown(*min, 4), l.tsplat8(15));
    }
    for half in 0..2 {
        let qs = [words!(l, blocks, q2_k::QS + 32 * half), words!(l, blocks, q2_k::QS + 32 * half + 16)];
        for i in 0..4 {
            let s = 4 * half + i;
            let (scales, mins) = (half_scales(l, d, scales, s), half_scales(l, dmin, mins, s));
            keep.keep(l, at + s, two_bits(l, qs, i), scales, mins);
        }
    }
});

by_columns!(Q3_K, q3_k, 8, SymmetricHalves<16>, SuperBlocks<Self>, |l, blocks, at, keep| {
    // The scale is the last half of the last 16 bytes; of the 16 bytes before it, the last twelve are those of the halves.
    let d = high_half(l, words!(l, blocks, q3_k::D + 2 - 16)[3]);
    let [_, a, b, high] = words!(l, blocks, q3_k::SCALES - 4);
    let mut scales = [a, b, l.tdown(a, 4), l.tdown(b, 4)];
    for (i, scale) in scales.iter_mut().enumerate() {
        let high = l.tand(l.tdown(high, 2 * i), l.tsplat8(3));
        *scale = l.tor(l.tand(*scale, l.tsplat8(15)), l.tup(high, 4));
        *scale = l.tsub8(*scale, l.tsplat8(32));
    }
    // Codes are 4 less where the third bit is clear.
    let mut clear = [words!(l, blocks, q3_k::HMASK), words!(l, blocks, q3_k::HMASK + 16)];
    for clear in clear.as_flattened_mut() {
        *clear = l.tsub8(l.tsplat8(-1), *clear);
    }
    for half in 0..2 {
        let qs = [words!(l, blocks, q3_k::QS + 32 * half), words!(l, blocks, q3_k::QS + 32 * half + 16)];
        for i in 0..4 {
            let s = 4 * half + i;
            let mut codes = two_bits(l, qs, i);
            for (code, clear) in codes.iter_mut().zip(clear.as_flattened()) {
                let clear = if s < 2 { l.tup(*clear, 2 - s) } else { l.tdown(*clear, s - 2) };
                *code = l.tsub8(*code, l.tand(clear, l.tsplat8(4)));
            }
            let scale = half_scales(l, d, scales, s);
            keep.keep(l, at + s, codes, scale, scale);
        }
    }
});

/// Scales and minima of the eight steps of Q4_K and Q5_K, from the first 16 bytes of blocks.
#[inline(always)]
fn affine<L: Columns>(l: L, head: [L::T; 4]) -> [[L::G; 8]; 2] {
    let [factors, a, b, c] = head;
    let (d, dmin) = (low_half(l, factors), high_half(l, factors));
    let (six, four, two) = (l.tsplat8(0x3F), l.tsplat8(0x0F), l.tsplat8(0x30));
    // As `q4_k::unpack_scales` does it, four at a time.
    let scales = [l.tand(a, six), l.tor(l.tand(c, four), l.tand(l.tdown(a, 2), two))];
    let mins = [l.tand(b, six), l.tor(l.tand(l.tdown(c, 4), four), l.tand(l.tdown(b, 2), two))];
    let mut all = [[d; 8]; 2];
    for s in 0..8 {
        all[0][s] = l.gmul(d, l.to_g(l.tbyte(scales[s / 4], s % 4)));
        all[1][s] = l.gmul(dmin, l.to_g(l.tbyte(mins[s / 4], s % 4)));
    }
    all
}

/// The two steps that 32 bytes hold: their low nibbles, then the high ones.
#[inline(always)]
fn nibble_steps<L: Columns>(l: L, [first, last]: [[L::T; 4]; 2]) -> [[L::T; 8]; 2] {
    let (first, last) = (nibbles(l, first), nibbles(l, last));
    let (mut low, mut high) = (first, last);
    for i in 0..4 {
        (low[4 + i], high[i]) = (last[i], first[4 + i]);
    }
    [low, high]
}

by_columns!(Q4_K, q4_k, 8, Affine, SixBits<Self>, |l, blocks, at, keep| {
    let [scales, mins] = affine(l, words!(l, blocks, q4_k::D));
    for s in 0..4 {
        let qs = [words!(l, blocks, q4_k::QS + 32 * s), words!(l, blocks, q4_k::QS + 32 * s + 16)];
        let [even, odd] = nibble_steps(l, qs);
        for (s, codes) in [(2 * s, even), (2 * s + 1, odd)] {
            keep.keep(l, at + s, codes, [scales[s]; 2], [mins[s]; 2]);
        }
    }
});

by_columns!(Q5_K, q5_k, 8, Affine, SixBits<Self>, |l, blocks, at, keep| {
    let [scales, mins] = affine(l, words!(l, blocks, q5_k::D));
    // Codes less 16 are the nibbles, less 16 where the fifth bit is clear.
    let mut clear = [words!(l, blocks, q5_k::QH), words!(l, blocks, q5_k::QH + 16)];
    for clear in clear.as_flattened_mut() {
        *clear = l.tsub8(l.tsplat8(-1), *clear);
    }
    for s in 0..4 {
        let qs = [words!(l, blocks, q5_k::QS + 32 * s), words!(l, blocks, q5_k::QS + 32 * s + 16)];
        let [even, odd] = nibble_steps(l, qs);
        for (s, mut codes) in [(2 * s, even), (2 * s + 1, odd)] {
            for (code, clear) in codes.iter_mut().zip(clear.as_flattened()) {
                let clear = if s < 4 { l.tup(*clear, 4 - s) } else { l.tdown(*clear, s - 4) };
                *code = l.tsub8(*code, l.tand(clear, l.tsplat8(16)));
            }
            let min = l.gfnma(scales[s], l.gsplat(16.0), mins[s]);
            keep.keep(l, at + s, codes, [scales[s]; 2], [min; 2]);
        }
    }
});

by_columns!(Q6_K, q6_k, 8, SymmetricHalves<32>, SuperBlocks<Self>, |l, blocks, at, keep| {
    // The scale is the last half of the last 16 bytes.
    let d = high_half(l, words!(l, blocks, q6_k::D + 2 - 16)[3]);
    let scales = words!(l, blocks, q6_k::SCALES);
    for half in 0..2 {
        let mut low = [[l.tzero(); 8]; 4];
        for (i, low) in low.iter_mut().enumerate() {
            *low = nibbles(l, words!(l, blocks, q6_k::QL + 64 * half + 16 * i));
        }
        let high = [words!(l, blocks, q6_k::QH + 32 * half), words!(l, blocks, q6_k::QH + 32 * half + 16)];
        for g in 0..4 {
            let mut codes = [l.tzero(); 8];
            for (i, code) in codes.iter_mut().enumerate() {
                let high = high[i / 4][i % 4];
                let high = if g < 2 { l.tup(high, 4 - 2 * g) } else { l.tdown(high, 2 * g - 4) };
                let low = low[g % 2 * 2 + i / 4][g / 2 * 4 + i % 4];
                *code = l.tor(low, l.tand(high, l.tsplat8(0x30)));
            }
            let s = 4 * half + g;
            let scale = half_scales(l, d, scales, s);
            keep.keep(l, at + s, less(l, codes, 32), scale, scale);
        }
    }
});

by_columns!(IQ4_XS, iq4_xs, 8, Symmetric<128>, SuperBlocks<Self>, |l, blocks, at, keep| {
    let [head, low, ..] = words!(l, blocks, iq4_xs::D);
    let d = low_half(l, head);
    let low = [l.tand(low, l.tsplat8(15)), l.tand(l.tdown(low, 4), l.tsplat8(15))];
    for s in 0..8 {
        // The two high bits of eight scales are the second half of the first word.
        let high = l.to_g(l.tbyte(l.tand(l.tdown(head, 2 * s), l.tsplat8(3)), 2));
        let scale = l.gadd(l.to_g(l.tbyte(low[s % 2], s / 2)), l.gsplat(-32.0));
        let scale = l.gmul(d, l.gfma(high, l.gsplat(16.0), scale));
        let codes = looked_up(l, &iq4_nl::VALUES, nibbles(l, words!(l, blocks, iq4_xs::QS + 16 * s)));
        keep.keep(l, at + s, codes, [scale; 2], [scale; 2]);
    }
});
