//! Formats of 32 values with 64-byte vectors, eight blocks at a time: a vector holds half the codes of four blocks, a quarter
//! for each. They come in the order of the activations: the first halves of blocks 0, 4, 1 and 5, their last halves, then
//! those of blocks 2, 6, 3 and 7.
//!
//! To load 64 bytes and to pick from two such vectors takes fewer instructions than to put 16 bytes each side by side.

use super::groups::Grouped;
use super::prefetch;
use crate::kernels::blocks::{IQ4_NL, MXFP4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, bytes_at};
use crate::kernels::lanes::Wide;
use crate::matmul::{Plane, Q8Row};
use puna_core::quant::{iq4_nl, mxfp4, q4_0, q4_1, q5_0, q5_1, q8_0};

/// A format of 32 values with 64-byte vectors.
pub(crate) trait WideGrouped: Grouped {
    /// The code of 0, where there is no minimum. All codes are unsigned.
    const WIDE_ZERO: i16 = Self::ZERO;

    /// Codes of eight blocks.
    fn wide_codes<W: Wide>(l: W, group: &Windows<W, Self>) -> [W::T; 4];

    /// The scales of eight blocks, twice.
    fn wide_scales<W: Wide>(l: W, group: &Windows<W, Self>) -> W::G;

    /// What to add to `scale * code`.
    fn wide_mins<W: Wide>(_: W, _: &Windows<W, Self>) -> Option<W::G> {
        None
    }
}

/// Eight blocks, and 64 bytes of them from every other block on, or the last 64 where that is less.
pub(crate) struct Windows<'a, W: Wide, B: WideGrouped + ?Sized> {
    group: &'a [u8],
    at: [W::T; 4],
    format: core::marker::PhantomData<B>,
}

/// Where the window of block `2 * q` begins that should begin at byte `at` of it.
const fn window(of_block: usize, q: usize, at: usize) -> usize {
    let (first, last) = (2 * q * of_block + at, 8 * of_block - 64);
    if first < last { first } else { last }
}

/// For each half of four blocks: the lane of a field's first word in each quarter, with windows that begin at byte `from` of
/// blocks. The field is at `at`.
const fn first_words(of_block: usize, from: usize, at: usize) -> [[u16; 4]; 2] {
    let mut words = [[0; 4]; 2];
    let mut i = 0;
    while i < 8 {
        // Blocks 0, 4, 1, 5, then 2, 6, 3, 7; of windows 0 and 2, then 1 and 3.
        let (half, quarter) = (i / 4, i % 4);
        let (table, second) = (quarter % 2, quarter / 2);
        let q = half + 2 * table;
        let byte = (2 * q + second) * of_block + at - window(of_block, q, from);
        assert!(byte.is_multiple_of(2) && byte < 64);
        words[half][quarter] = (32 * table + byte / 2) as u16;
        i += 1;
    }
    words
}

/// Fields of 16 bytes, one in each quarter.
const fn fields(of_block: usize, from: usize, at: usize) -> [[u16; 32]; 2] {
    let words = first_words(of_block, from, at);
    let mut index = [[0; 32]; 2];
    let mut i = 0;
    while i < 2 * 32 {
        let first = words[i / 32][i % 32 / 8];
        assert!(first % 32 + 7 < 32);
        index[i / 32][i % 32] = first + (i % 8) as u16;
        i += 1;
    }
    index
}

/// Fields of four bytes, one in each quarter, again and again.
const fn repeated(of_block: usize, at: usize) -> [[u16; 32]; 2] {
    let words = first_words(of_block, 0, at);
    let mut index = [[0; 32]; 2];
    let mut i = 0;
    while i < 2 * 32 {
        index[i / 32][i % 32] = words[i / 32][i % 32 / 8] + (i % 2) as u16;
        i += 1;
    }
    index
}

/// Fields of two bytes of all blocks, twice: the lanes in windows 0 and 2, if these hold all.
const fn near(of_block: usize, at: usize) -> [u16; 32] {
    let mut index = [0; 32];
    let mut i = 0;
    while i < 16 {
        let byte = i % 4 * of_block + at;
        index[i] = (i % 8 / 4 * 32 + byte / 2) as u16;
        i += 1;
    }
    index
}

/// The lanes of such fields that quarters of two vectors begin with.
const ONE_EACH: [u16; 32] = {
    let mut index = [0; 32];
    let mut i = 0;
    while i < 16 {
        let (second, table, half) = (i % 2, i % 4 / 2, i % 8 / 4);
        index[i] = (32 * table + 8 * (2 * second + half)) as u16;
        i += 1;
    }
    index
};

/// The lanes of two vectors, of four blocks each, whose sum has lanes of blocks 0 to 8, twice.
const SUMS: [[u32; 16]; 2] = {
    let mut index = [[0; 16]; 2];
    let mut i = 0;
    while i < 2 * 16 {
        let (block, lane) = (i % 8, i % 16 / 8 + 2 * (i / 16));
        let (vector, quarter) = (block % 4 / 2, block % 2 * 2 + block / 4);
        index[i / 16][i % 16] = (16 * vector + 4 * quarter + lane) as u32;
        i += 1;
    }
    index
};

impl<'a, W: Wide, B: WideGrouped + ?Sized> Windows<'a, W, B> {
    #[inline(always)]
    fn new(l: W, group: &'a [u8]) -> Self {
        Self { group, at: Self::load::<0>(l, group), format: core::marker::PhantomData }
    }

    /// Windows from byte `AT` of blocks on.
    #[inline(always)]
    fn load<const AT: usize>(l: W, group: &[u8]) -> [W::T; 4] {
        let load = |q: usize| l.tbytes(bytes_at(group, window(B::BYTES, q, AT)));
        [load(0), load(1), load(2), load(3)]
    }

    /// Fields of 16 bytes.
    #[inline(always)]
    fn fields<const AT: usize>(&self, l: W) -> [W::T; 2] {
        let index = const { &fields(B::BYTES, 0, AT) };
        let [a, b, c, d] = self.at;
        [l.tpick16_2(a, c, &index[0]), l.tpick16_2(b, d, &index[1])]
    }

    /// Fields of two bytes, twice.
    #[inline(always)]
    fn halves<const AT: usize>(&self, l: W) -> W::V {
        let [a, b, c, d] = self.at;
        if const { 3 * B::BYTES + AT + 2 <= 64 } {
            return l.tlow(l.tpick16_2(a, c, const { &near(B::BYTES, AT) }));
        }
        let index = const { &repeated(B::BYTES, AT) };
        let (a, b) = (l.tpick16_2(a, c, &index[0]), l.tpick16_2(b, d, &index[1]));
        l.tlow(l.tpick16_2(a, b, &ONE_EACH))
    }

    /// Nibbles in fields of 16 bytes.
    #[inline(always)]
    fn nibbles<const AT: usize>(&self, l: W) -> [W::T; 4] {
        let ([a, b], mask) = (self.fields::<AT>(l), l.tsplat8(15));
        let high = |a: W::T| l.tand(l.tshr16(a, [4; 4]), mask);
        [l.tand(a, mask), high(a), l.tand(b, mask), high(b)]
    }

    /// Adds the fifth bits, 32 of each block.
    #[inline(always)]
    fn with_fifth<const AT: usize>(&self, l: W, codes: [W::T; 4]) -> [W::T; 4] {
        /// Byte `i` of a quarter needs byte `i / 8` of the first 16 bits, or of the last.
        const SPREAD: [[u8; 16]; 2] = [
            [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1],
            [2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3],
        ];
        const BITS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
        let index = const { &repeated(B::BYTES, AT) };
        let [a, b, c, d] = self.at;
        let high = [l.tpick16_2(a, c, &index[0]), l.tpick16_2(b, d, &index[1])];
        let (bits, value) = (l.tjoin4([&BITS; 4]), l.tsplat8(16));
        let mut out = codes;
        for (i, out) in out.iter_mut().enumerate() {
            let spread = l.tshuffle8(high[i / 2], l.tjoin4([&SPREAD[i % 2]; 4]));
            *out = l.tadd8_where(*out, value, spread, bits);
        }
        out
    }
}

/// What a group of a row of activations is multiplied as.
#[derive(Clone, Copy)]
struct Parts<'a> {
    codes: &'a [[u8; 256]],
    d: &'a [[u8; 32]],
    sums: &'a [[u8; 32]],
}

impl<'a> Parts<'a> {
    /// All slices are as long, so that one check of an index does for them.
    #[inline(always)]
    fn new(x: &Q8Row<'a>, n_in: usize) -> Self {
        let (Plane { codes, d, sums, .. }, n) = (x.plane, n_in.div_ceil(256));
        Self { codes: &codes.as_chunks().0[..n], d: &d.as_chunks().0[..n], sums: &sums.as_chunks().0[..n] }
    }
}

/// [`RowDot::wide_dots`](super::RowDot::wide_dots), those of whole groups.
#[inline(always)]
pub(super) fn dots<W: Wide, B: WideGrouped, const N: usize>(
    l: W,
    row: &[u8],
    x: &[Q8Row<'_>; N],
    n_in: usize,
) -> [f32; N] {
    let mut sums = [l.gsplat(0.0); N];
    let mut parts = [Parts::new(&x[0], n_in); N];
    for (parts, x) in parts.iter_mut().zip(x) {
        *parts = Parts::new(x, n_in);
    }
    let n_groups = n_in / 256;
    let groups = row[..n_groups * 8 * B::BYTES].chunks_exact(8 * B::BYTES);
    for (g, group) in (0..n_groups).zip(groups) {
        prefetch(l, group);
        add_group::<W, B, N>(l, group, &parts, g, &mut sums);
    }
    let mut out = [0.0; N];
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = l.gsum(sum);
    }
    out
}

/// Adds the products of eight blocks with group `g` of the activations.
#[inline(always)]
fn add_group<W: Wide, B: WideGrouped, const N: usize>(
    l: W,
    group: &[u8],
    x: &[Parts<'_>; N],
    g: usize,
    sums: &mut [W::G; N],
) {
    let group = Windows::<W, B>::new(l, group);
    let w = B::wide_codes(l, &group);
    let scales = B::wide_scales(l, &group);
    let mins = B::wide_mins(l, &group);
    let zero = l.splat8(0);
    for (x, sum) in x.iter().zip(sums) {
        let x_codes = |i: usize| l.tbytes(bytes_at(&x.codes[g], 64 * i));
        let a = l.tdot8(l.tdot8(l.tzero(), w[0], x_codes(0)), w[1], x_codes(1));
        let b = l.tdot8(l.tdot8(l.tzero(), w[2], x_codes(2)), w[3], x_codes(3));
        let mut dot = l.tadd32(l.tpick32_2(a, b, &SUMS[0]), l.tpick32_2(a, b, &SUMS[1]));
        let x_sums = |factor: i16| l.thalves(l.mul16_pairs(l.load(&x.sums[g]), l.splat16(factor)), zero);
        if B::WIDE_ZERO != 0 {
            dot = l.tadd32(dot, x_sums(-B::WIDE_ZERO));
        }
        let d = l.gtwice(l.fload(&bytemuck::pod_read_unaligned(&x.d[g])));
        *sum = l.gfma(l.to_g(dot), l.gmul(scales, d), *sum);
        if let Some(mins) = mins {
            *sum = l.gfma(l.to_g(x_sums(1)), l.gmul(mins, d), *sum);
        }
    }
}

/// Levels as unsigned bytes, 128 more than they are.
const LEVELS: [u8; 16] = {
    let mut levels = [0; 16];
    let mut i = 0;
    while i < 16 {
        levels[i] = iq4_nl::VALUES[i] as u8 ^ 0x80;
        i += 1;
    }
    levels
};

/// Nibbles as indices of a table.
#[inline(always)]
fn looked_up<W: Wide>(l: W, table: &[u8; 16], [a, b, c, d]: [W::T; 4]) -> [W::T; 4] {
    let table = l.tjoin4([table; 4]);
    [l.tshuffle8(table, a), l.tshuffle8(table, b), l.tshuffle8(table, c), l.tshuffle8(table, d)]
}

impl WideGrouped for Q4_0 {
    #[inline(always)]
    fn wide_codes<W: Wide>(l: W, group: &Windows<W, Self>) -> [W::T; 4] {
        group.nibbles::<{ q4_0::QS }>(l)
    }
    #[inline(always)]
    fn wide_scales<W: Wide>(l: W, group: &Windows<W, Self>) -> W::G {
        l.ghalves(group.halves::<{ q4_0::D }>(l))
    }
}

impl WideGrouped for Q4_1 {
    #[inline(always)]
    fn wide_codes<W: Wide>(l: W, group: &Windows<W, Self>) -> [W::T; 4] {
        group.nibbles::<{ q4_1::QS }>(l)
    }
    #[inline(always)]
    fn wide_scales<W: Wide>(l: W, group: &Windows<W, Self>) -> W::G {
        l.ghalves(group.halves::<{ q4_1::D }>(l))
    }
    #[inline(always)]
    fn wide_mins<W: Wide>(l: W, group: &Windows<W, Self>) -> Option<W::G> {
        Some(l.ghalves(group.halves::<{ q4_1::M }>(l)))
    }
}

impl WideGrouped for Q5_0 {
    #[inline(always)]
    fn wide_codes<W: Wide>(l: W, group: &Windows<W, Self>) -> [W::T; 4] {
        group.with_fifth::<{ q5_0::QH }>(l, group.nibbles::<{ q5_0::QS }>(l))
    }
    #[inline(always)]
    fn wide_scales<W: Wide>(l: W, group: &Windows<W, Self>) -> W::G {
        l.ghalves(group.halves::<{ q5_0::D }>(l))
    }
}

impl WideGrouped for Q5_1 {
    #[inline(always)]
    fn wide_codes<W: Wide>(l: W, group: &Windows<W, Self>) -> [W::T; 4] {
        group.with_fifth::<{ q5_1::QH }>(l, group.nibbles::<{ q5_1::QS }>(l))
    }
    #[inline(always)]
    fn wide_scales<W: Wide>(l: W, group: &Windows<W, Self>) -> W::G {
        l.ghalves(group.halves::<{ q5_1::D }>(l))
    }
    #[inline(always)]
    fn wide_mins<W: Wide>(l: W, group: &Windows<W, Self>) -> Option<W::G> {
        Some(l.ghalves(group.halves::<{ q5_1::M }>(l)))
    }
}

impl WideGrouped for Q8_0 {
    const WIDE_ZERO: i16 = 128;

    #[inline(always)]
    fn wide_codes<W: Wide>(l: W, group: &Windows<W, Self>) -> [W::T; 4] {
        // The last halves of second blocks lie beyond the windows.
        let index = const { &fields(Self::BYTES, 16, q8_0::QS + 16) };
        let [a, b, c, d] = Windows::<W, Self>::load::<16>(l, group.group);
        let last = [l.tpick16_2(a, c, &index[0]), l.tpick16_2(b, d, &index[1])];
        let (first, bit) = (group.fields::<{ q8_0::QS }>(l), l.tsplat8(-128));
        [l.txor(first[0], bit), l.txor(last[0], bit), l.txor(first[1], bit), l.txor(last[1], bit)]
    }
    #[inline(always)]
    fn wide_scales<W: Wide>(l: W, group: &Windows<W, Self>) -> W::G {
        l.ghalves(group.halves::<{ q8_0::D }>(l))
    }
}

impl WideGrouped for IQ4_NL {
    const WIDE_ZERO: i16 = 128;

    #[inline(always)]
    fn wide_codes<W: Wide>(l: W, group: &Windows<W, Self>) -> [W::T; 4] {
        looked_up(l, &LEVELS, group.nibbles::<{ iq4_nl::QS }>(l))
    }
    #[inline(always)]
    fn wide_scales<W: Wide>(l: W, group: &Windows<W, Self>) -> W::G {
        l.ghalves(group.halves::<{ iq4_nl::D }>(l))
    }
}

impl WideGrouped for MXFP4 {
    #[inline(always)]
    fn wide_codes<W: Wide>(l: W, group: &Windows<W, Self>) -> [W::T; 4] {
        // Blocks of an odd number of bytes do not have their words in lanes.
        let qs = |i: usize| bytes_at(group.group, i * Self::BYTES + mxfp4::QS);
        let mask = l.tsplat8(15);
        let (a, b) = (l.tjoin4([qs(0), qs(4), qs(1), qs(5)]), l.tjoin4([qs(2), qs(6), qs(3), qs(7)]));
        let high = |a: W::T| l.tand(l.tshr16(a, [4; 4]), mask);
        looked_up(l, &Self::TABLE, [l.tand(a, mask), high(a), l.tand(b, mask), high(b)])
    }
    #[inline(always)]
    fn wide_scales<W: Wide>(l: W, group: &Windows<W, Self>) -> W::G {
        let mut exponents = 0;
        for i in 0..8 {
            exponents |= u64::from(group.group[i * Self::BYTES + mxfp4::E]) << (8 * i);
        }
        l.gtwice(l.fload_e8m0(&exponents.to_le_bytes()))
    }
}
