//! Formats whose rows become columns while they are packed, as many at a time as the widest vectors have lanes: lane `i`
//! belongs to row `i`.
//!
//! A word holds four codes of a byte, eight nibbles, four scales or two halves, whatever the format has there; what takes a
//! row of weights apart takes a column apart. So half the words or less are moved between lanes that would be if codes were
//! unpacked first.

use super::{Block, IQ4_NL, IQ4_XS, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_K, Q6_K, Q8_0};
use crate::kernels::lanes::columns::ROWS;
use crate::kernels::lanes::{Columns, Lanes};
use crate::kernels::slab::Keep;
use puna_core::quant::{iq4_nl, iq4_xs, q2_k, q3_k, q4_0, q4_1, q4_k, q5_k, q6_k, q8_0};

/// A step of as many rows as there are lanes. Where halves share scales and minima, only the first are there.
pub(crate) struct ColumnStep<L: Lanes> {
    /// Word `j`: codes `4 * j .. 4 * j + 4`.
    pub(crate) codes: [L::T; 8],
    pub(crate) scale: [L::G; 2],
    pub(crate) min: [L::G; 2],
}

/// A format whose rows become columns while they are packed.
pub(crate) trait ByColumns {
    /// Whether this is such a format.
    const ANY: bool;

    /// Unpacks the blocks of pieces of rows, of equal length, as many as there are lanes: the rows of the outputs of the slab
    /// from `first` on.
    fn columns<L: Columns>(l: L, rows: [&[u8]; ROWS], first: usize, to: &mut impl Keep);
}

/// Formats whose rows are unpacked before they become columns.
pub(crate) struct NotByColumns;

impl ByColumns for NotByColumns {
    const ANY: bool = false;

    #[inline(always)]
    fn columns<L: Columns>(_: L, _: [&[u8]; ROWS], _: usize, _: &mut impl Keep) {}
}

/// Implements [`ByColumns`]: `$body` keeps the steps of one block of each row, the first of which is step `$at`.
macro_rules! by_columns {
    ($name:ident, $module:ident, |$l:ident, $blocks:ident, $at:ident, $keep:ident| $body:block) => {
        impl ByColumns for $name {
            const ANY: bool = true;

            #[inline(always)]
            fn columns<L: Columns>($l: L, rows: [&[u8]; ROWS], first: usize, to: &mut impl Keep) {
                const BYTES: usize = $module::BYTES;
                let n = rows[0].len() / BYTES;
                let mut all: [&[[u8; BYTES]]; ROWS] = [&[]; ROWS];
                for (all, row) in all.iter_mut().zip(rows) {
                    *all = &row.as_chunks().0[..n];
                }
                for b in 0..n {
                    let mut $blocks = [&[0; BYTES]; ROWS];
                    for (block, row) in $blocks.iter_mut().zip(all) {
                        *block = &row[b];
                    }
                    let $at = b * <$name as Block>::STEPS;
                    let mut $keep = To { to, first };
                    $body
                }
            }
        }
    };
}

/// Where the steps of the rows from `first` on go.
struct To<'a, K> {
    to: &'a mut K,
    first: usize,
}

impl<K: Keep> To<'_, K> {
    /// Keeps a step.
    #[inline(always)]
    fn keep<L: Columns>(&mut self, l: L, at: usize, codes: [L::T; 8], scale: [L::G; 2], min: [L::G; 2]) {
        self.to.keep_columns(l, at, self.first, ColumnStep { codes, scale, min });
    }
}

/// The 16 bytes at byte `at` of each block as four columns.
macro_rules! words {
    ($l:ident, $blocks:ident, $at:expr) => {{
        let mut at = [&[0; 16]; ROWS];
        for (at, block) in at.iter_mut().zip($blocks) {
            *at = super::bytes_at(block, $at);
        }
        $l.tcolumns(at)
    }};
}

/// The F16 in the low half of each word.
#[inline(always)]
fn low_half<L: Columns>(l: L, a: L::T) -> L::G {
    l.gwords(a, false)
}
#[inline(always)]
fn high_half<L: Columns>(l: L, a: L::T) -> L::G {
    l.gwords(a, true)
}

/// Nibbles as indices of the values of IQ4_NL and IQ4_XS.
#[inline(always)]
fn looked_up<L: Columns>(l: L, mut nibbles: [L::T; 8]) -> [L::T; 8] {
    for nibble in &mut nibbles {
        *nibble = l.tlookup(bytemuck::cast_ref(&iq4_nl::VALUES), *nibble);
    }
    nibbles
}

/// Low nibbles of words, then high ones.
#[inline(always)]
fn nibbles<L: Columns>(l: L, words: [L::T; 4]) -> [L::T; 8] {
    let mask = l.tsplat8(15);
    let mut codes = [l.tzero(); 8];
    for (i, word) in words.into_iter().enumerate() {
        codes[i] = l.tand(word, mask);
        codes[4 + i] = l.tand(l.tdown(word, 4), mask);
    }
    codes
}

/// Codes less `zero`.
#[inline(always)]
fn less<L: Columns>(l: L, mut codes: [L::T; 8], zero: i8) -> [L::T; 8] {
    for code in &mut codes {
        *code = l.tsub8(*code, l.tsplat8(zero));
    }
    codes
}

by_columns!(Q4_0, q4_0, |l, blocks, at, keep| {
    let d = low_half(l, words!(l, blocks, q4_0::D)[0]);
    let codes = less(l, nibbles(l, words!(l, blocks, q4_0::QS)), 8);
    keep.keep(l, at, codes, [d; 2], [d; 2]);
});

by_columns!(Q4_1, q4_1, |l, blocks, at, keep| {
    let dm = words!(l, blocks, q4_1::D)[0];
    let (d, m) = (low_half(l, dm), high_half(l, dm));
    let codes = nibbles(l, words!(l, blocks, q4_1::QS));
    // What is subtracted: the format adds it.
    let min = l.gmul(m, l.gsplat(-1.0));
    keep.keep(l, at, codes, [d; 2], [min; 2]);
});

by_columns!(Q8_0, q8_0, |l, blocks, at, keep| {
    let d = low_half(l, words!(l, blocks, q8_0::D)[0]);
    let [low, high] = [words!(l, blocks, q8_0::QS), words!(l, blocks, q8_0::QS + 16)];
    let [[a, b, c, d0], [e, f, g, h]] = [low, high];
    keep.keep(l, at, [a, b, c, d0, e, f, g, h], [d; 2], [d; 2]);
});

by_columns!(IQ4_NL, iq4_nl, |l, blocks, at, keep| {
    let d = low_half(l, words!(l, blocks, iq4_nl::D)[0]);
    let codes = looked_up(l, nibbles(l, words!(l, blocks, iq4_nl::QS)));
    keep.keep(l, at, codes, [d; 2], [d; 2]);
});

by_columns!(IQ4_XS, iq4_xs, |l, blocks, at, keep| {
    let [head, low, ..] = words!(l, blocks, iq4_xs::D);
    let d = low_half(l, head);
    let low = [l.tand(low, l.tsplat8(15)), l.tand(l.tdown(low, 4), l.tsplat8(15))];
    for s in 0..8 {
        // The two high bits of eight scales are the second half of the first word.
        let high = l.to_g(l.tbyte(l.tand(l.tdown(head, 2 * s), l.tsplat8(3)), 2));
        let scale = l.gadd(l.to_g(l.tbyte(low[s % 2], s / 2)), l.gsplat(-32.0));
        let scale = l.gmul(d, l.gfma(high, l.gsplat(16.0), scale));
        let codes = looked_up(l, nibbles(l, words!(l, blocks, iq4_xs::QS + 16 * s)));
        keep.keep(l, at + s, codes, [scale; 2], [scale; 2]);
    }
});

/// The scales of the two halves of step `s`, `d` times the integers that are the bytes of four words.
#[inline(always)]
fn half_scales<L: Columns>(l: L, d: L::G, integers: [L::T; 4], s: usize) -> [L::G; 2] {
    let mut scale = [d; 2];
    for (half, scale) in scale.iter_mut().enumerate() {
        *scale = l.gmul(d, l.to_g(l.tbyte(integers[s / 2], s % 2 * 2 + half)));
    }
    scale
}

by_columns!(Q2_K, q2_k, |l, blocks, at, keep| {
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
            let mut codes = [l.tzero(); 8];
            for (code, q) in codes.iter_mut().zip(qs.as_flattened()) {
                *code = l.tand(l.tdown(*q, 2 * i), l.tsplat8(3));
            }
            let s = 4 * half + i;
            keep.keep(l, at + s, codes, half_scales(l, d, scales, s), half_scales(l, dmin, mins, s));
        }
    }
});

by_columns!(Q3_K, q3_k, |l, blocks, at, keep| {
    // The scale is the last half of the last 16 bytes; of the 16 bytes before it, the last twelve are those of the halves.
    let d = high_half(l, words!(l, blocks, q3_k::D + 2 - 16)[3]);
    let [_, a, b, high] = words!(l, blocks, q3_k::SCALES - 4);
    let mut scales = [a, b, l.tdown(a, 4), l.tdown(b, 4)];
    for (i, scale) in scales.iter_mut().enumerate() {
        let high = l.tand(l.tdown(high, 2 * i), l.tsplat8(3));
        *scale = l.tor(l.tand(*scale, l.tsplat8(15)), l.tup(high, 4));
        *scale = l.tsub8(*scale, l.tsplat8(32));
    }
    let third = [words!(l, blocks, q3_k::HMASK), words!(l, blocks, q3_k::HMASK + 16)];
    for half in 0..2 {
        let qs = [words!(l, blocks, q3_k::QS + 32 * half), words!(l, blocks, q3_k::QS + 32 * half + 16)];
        for i in 0..4 {
            let s = 4 * half + i;
            let mut codes = [l.tzero(); 8];
            for ((code, q), third) in codes.iter_mut().zip(qs.as_flattened()).zip(third.as_flattened()) {
                let third = if s < 2 { l.tup(*third, 2 - s) } else { l.tdown(*third, s - 2) };
                *code = l.tor(l.tand(l.tdown(*q, 2 * i), l.tsplat8(3)), l.tand(third, l.tsplat8(4)));
            }
            let scale = half_scales(l, d, scales, s);
            keep.keep(l, at + s, less(l, codes, 4), scale, scale);
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

by_columns!(Q4_K, q4_k, |l, blocks, at, keep| {
    let [scales, mins] = affine(l, words!(l, blocks, q4_k::D));
    for s in 0..4 {
        let low = nibbles(l, words!(l, blocks, q4_k::QS + 32 * s));
        let high = nibbles(l, words!(l, blocks, q4_k::QS + 32 * s + 16));
        let (mut even, mut odd) = (low, high);
        for i in 0..4 {
            (even[4 + i], odd[i]) = (high[i], low[4 + i]);
        }
        for (s, codes) in [(2 * s, even), (2 * s + 1, odd)] {
            keep.keep(l, at + s, codes, [scales[s]; 2], [mins[s]; 2]);
        }
    }
});

by_columns!(Q5_K, q5_k, |l, blocks, at, keep| {
    let [scales, mins] = affine(l, words!(l, blocks, q5_k::D));
    let fifths = [words!(l, blocks, q5_k::QH), words!(l, blocks, q5_k::QH + 16)];
    for s in 0..4 {
        let low = nibbles(l, words!(l, blocks, q5_k::QS + 32 * s));
        let high = nibbles(l, words!(l, blocks, q5_k::QS + 32 * s + 16));
        let (mut even, mut odd) = (low, high);
        for i in 0..4 {
            (even[4 + i], odd[i]) = (high[i], low[4 + i]);
        }
        for (s, mut codes) in [(2 * s, even), (2 * s + 1, odd)] {
            for (i, code) in codes.iter_mut().enumerate() {
                let fifth = fifths[i / 4][i % 4];
                let fifth = if s < 4 { l.tup(fifth, 4 - s) } else { l.tdown(fifth, s - 4) };
                *code = l.tor(*code, l.tand(fifth, l.tsplat8(16)));
            }
            let min = l.gfnma(scales[s], l.gsplat(16.0), mins[s]);
            keep.keep(l, at + s, less(l, codes, 16), [scales[s]; 2], [min; 2]);
        }
    }
});

by_columns!(Q6_K, q6_k, |l, blocks, at, keep| {
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
