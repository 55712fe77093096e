//! Formats of 32 values, eight blocks at a time: lane `i` of the sums belongs to block `i`, so that the eight scales
//! are applied at once. What makes no whole group is in [`apart`](super::apart).

use super::apart;
use super::wide_groups::{self, WideGrouped};
use super::{RowDot, prefetch};
use crate::kernels::blocks::{IQ4_NL, MXFP4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, bytes_at};
use crate::kernels::lanes::{Lanes, Wide};
use crate::matmul::{Plane, Q8Row};
use core::marker::PhantomData;
use puna_core::quant::{iq4_nl, mxfp4, q4_0, q4_1, q5_0, q5_1, q8_0};

/// Rows of a format whose blocks are multiplied in groups.
pub(crate) struct Groups<B>(PhantomData<B>);

/// Bytes of the largest block of 32 values.
pub(super) const MOST_BYTES: usize = 34;

/// A format of 32 values.
pub(crate) trait Grouped {
    /// Bytes of a block, at most [`MOST_BYTES`].
    const BYTES: usize;
    /// Whether codes are signed bytes of any size; else they are unsigned, up to 63.
    const SIGNED: bool;
    /// The code of 0, where there is no minimum.
    const ZERO: i16;

    /// Codes of two blocks: the first 16 of both, then the last 16 of both.
    fn codes<L: Lanes>(l: L, a: &[u8], b: &[u8]) -> [L::V; 2];

    /// The scales of eight blocks.
    fn scales<L: Lanes>(l: L, blocks: &impl Blocks) -> L::F;

    /// What to add to `scale * code`, for eight blocks.
    fn mins<L: Lanes>(_: L, _: &impl Blocks) -> Option<L::F> {
        None
    }
}

impl<B: WideGrouped> RowDot for Groups<B> {
    const WIDE: bool = true;

    #[inline(always)]
    fn wide_dots<W: Wide, const N: usize>(l: W, row: &[u8], x: &[Q8Row<'_>; N], n_in: usize) -> [f32; N] {
        wide_groups::dots::<W, B, N>(l, row, x, n_in)
    }

    /// Those of whole groups.
    #[inline(always)]
    fn dots<L: Lanes, const N: usize>(l: L, row: &[u8], x: &[Q8Row<'_>; N], n_in: usize) -> [f32; N] {
        let mut sums = [l.fsplat(0.0); N];
        let mut planes = [x[0].plane; N];
        for (plane, x) in planes.iter_mut().zip(x) {
            *plane = x.plane;
        }
        let groups = row[..n_in / 256 * 8 * B::BYTES].chunks_exact(8 * B::BYTES);
        for (g, group) in groups.enumerate() {
            prefetch(l, group);
            add_group::<L, B, N>(l, &Group { bytes: group, of_block: B::BYTES }, &planes, g, &mut sums);
        }
        let mut out = [0.0; N];
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = l.fsum(sum);
        }
        out
    }

    #[inline(always)]
    fn add_rest<L: Lanes, const N: usize>(
        l: L,
        rows: &[&[u8]; 4],
        x: &[Q8Row<'_>; N],
        n_in: usize,
        out: &mut [[f32; N]; 4],
    ) {
        apart::add::<L, B, N>(l, rows, x, n_in, out);
    }
}

/// Eight blocks.
pub(crate) trait Blocks {
    /// Block `i`.
    fn block(&self, i: usize) -> &[u8];

    /// Their f16 fields at byte `at`, widened.
    fn f16s<L: Lanes>(&self, l: L, at: usize) -> L::F;
}

/// Eight blocks, one after the other.
struct Group<'a> {
    bytes: &'a [u8],
    of_block: usize,
}

impl Blocks for Group<'_> {
    #[inline(always)]
    fn block(&self, i: usize) -> &[u8] {
        &self.bytes[i * self.of_block..(i + 1) * self.of_block]
    }
    #[inline(always)]
    fn f16s<L: Lanes>(&self, l: L, at: usize) -> L::F {
        let mut from = [bytes_at(self.bytes, at); 8];
        for (i, from) in from.iter_mut().enumerate() {
            // The field is where it belongs among eight: the block before has more bytes than lie before that.
            *from = bytes_at(self.bytes, i * self.of_block + at - 2 * i);
        }
        l.fload_f16_each(from)
    }
}

/// Adds the products of eight blocks with group `g` of the activations.
#[inline(always)]
fn add_group<L: Lanes, B: Grouped, const N: usize>(
    l: L,
    blocks: &impl Blocks,
    x: &[Plane<'_>; N],
    g: usize,
    sums: &mut [L::F; N],
) {
    let mut dots = [[l.splat8(0); 4]; N];
    for p in 0..4 {
        let w = B::codes(l, blocks.block(p), blocks.block(4 + p));
        for (x, dots) in x.iter().zip(&mut dots) {
            // Activations are packed in two pairs of steps, as the codes of two blocks come.
            let x: &[u8; 128] = x.chunk(x.codes, 2 * g + p / 2);
            let at = 32 * (p % 2);
            dots[p] = pair_dot::<L, B>(l, w, [l.load(bytes_at(x, at)), l.load(bytes_at(x, 64 + at))]);
        }
    }
    let (scales, mins) = (B::scales(l, blocks), B::mins(l, blocks));
    for ((x, dots), sum) in x.iter().zip(dots).zip(sums) {
        let d = l.fload(&bytemuck::pod_read_unaligned(x.chunk::<32>(x.d, g)));
        add_scaled::<L, B>(l, dots, (scales, mins), l.load(x.chunk(x.sums, g)), d, sum);
    }
}

/// The products of the codes of two blocks, four lanes of each.
#[inline(always)]
pub(super) fn pair_dot<L: Lanes, B: Grouped>(l: L, w: [L::V; 2], x: [L::V; 2]) -> L::V {
    if B::SIGNED { l.dot2_signed(w, x) } else { l.dot2(w, x) }
}

/// Adds the products of eight blocks, scaled. Each half of `dots[p]` sums to the product of block `p`, or of block `4 + p`.
/// `sums` are those of the halves of blocks of activations, `d` their scales.
#[inline(always)]
pub(super) fn add_scaled<L: Lanes, B: Grouped>(
    l: L,
    [a, b, c, d]: [L::V; 4],
    (scales, mins): (L::F, Option<L::F>),
    x_sums: L::V,
    x_d: L::F,
    sum: &mut L::F,
) {
    let low = l.add32(l.zip32_low(a, b), l.zip32_high(a, b));
    let high = l.add32(l.zip32_low(c, d), l.zip32_high(c, d));
    let mut dot = l.add32(l.zip64_low(low, high), l.zip64_high(low, high));
    if B::ZERO != 0 {
        dot = l.sub32(dot, l.mul16_pairs(x_sums, l.splat16(B::ZERO)));
    }
    *sum = l.ffma(l.to_f32(dot), l.fmul(scales, x_d), *sum);
    if let Some(mins) = mins {
        let x_sums = l.mul16_pairs(x_sums, l.splat16(1));
        *sum = l.ffma(l.to_f32(x_sums), l.fmul(mins, x_d), *sum);
    }
}

/// Nibbles at byte `at` of two blocks.
#[inline(always)]
fn nibbles<L: Lanes>(l: L, a: &[u8], b: &[u8], at: usize) -> [L::V; 2] {
    let both = l.load2(bytes_at(a, at), bytes_at(b, at));
    let mask = l.splat8(15);
    [l.and(both, mask), l.and(l.shr16(both, 4), mask)]
}

/// Nibbles as indices of a table.
#[inline(always)]
fn looked_up<L: Lanes>(l: L, table: &[u8; 16], nibbles: [L::V; 2]) -> [L::V; 2] {
    let table = l.load2(table, table);
    [l.shuffle8(table, nibbles[0]), l.shuffle8(table, nibbles[1])]
}

/// Adds the fifth bits, 32 of each block at byte `at`.
#[inline(always)]
fn with_fifth<L: Lanes>(l: L, mut codes: [L::V; 2], a: &[u8], b: &[u8], at: usize) -> [L::V; 2] {
    /// Byte `i` of a half needs byte `i / 8` of the first 16 bits, or of the last.
    const SPREAD: [[u8; 16]; 2] =
        [[0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3]];
    const BITS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
    let high = |block: &[u8]| u32::from_le_bytes(*bytes_at(block, at));
    let high = l.splat32_halves(high(a), high(b));
    let bits = l.load2(&BITS, &BITS);
    for (codes, spread) in codes.iter_mut().zip(&SPREAD) {
        let set = l.eq8(l.and(l.shuffle8(high, l.load2(spread, spread)), bits), bits);
        *codes = l.or(*codes, l.and(set, l.splat8(16)));
    }
    codes
}

impl Grouped for Q4_0 {
    const BYTES: usize = q4_0::BYTES;
    const SIGNED: bool = false;
    const ZERO: i16 = 8;

    #[inline(always)]
    fn codes<L: Lanes>(l: L, a: &[u8], b: &[u8]) -> [L::V; 2] {
        nibbles(l, a, b, q4_0::QS)
    }
    #[inline(always)]
    fn scales<L: Lanes>(l: L, blocks: &impl Blocks) -> L::F {
        blocks.f16s(l, q4_0::D)
    }
}

impl Grouped for Q4_1 {
    const BYTES: usize = q4_1::BYTES;
    const SIGNED: bool = false;
    const ZERO: i16 = 0;

    #[inline(always)]
    fn codes<L: Lanes>(l: L, a: &[u8], b: &[u8]) -> [L::V; 2] {
        nibbles(l, a, b, q4_1::QS)
    }
    #[inline(always)]
    fn scales<L: Lanes>(l: L, blocks: &impl Blocks) -> L::F {
        blocks.f16s(l, q4_1::D)
    }
    #[inline(always)]
    fn mins<L: Lanes>(l: L, blocks: &impl Blocks) -> Option<L::F> {
        Some(blocks.f16s(l, q4_1::M))
    }
}

impl Grouped for Q5_0 {
    const BYTES: usize = q5_0::BYTES;
    const SIGNED: bool = false;
    const ZERO: i16 = 16;

    #[inline(always)]
    fn codes<L: Lanes>(l: L, a: &[u8], b: &[u8]) -> [L::V; 2] {
        with_fifth(l, nibbles(l, a, b, q5_0::QS), a, b, q5_0::QH)
    }
    #[inline(always)]
    fn scales<L: Lanes>(l: L, blocks: &impl Blocks) -> L::F {
        blocks.f16s(l, q5_0::D)
    }
}

impl Grouped for Q5_1 {
    const BYTES: usize = q5_1::BYTES;
    const SIGNED: bool = false;
    const ZERO: i16 = 0;

    #[inline(always)]
    fn codes<L: Lanes>(l: L, a: &[u8], b: &[u8]) -> [L::V; 2] {
        with_fifth(l, nibbles(l, a, b, q5_1::QS), a, b, q5_1::QH)
    }
    #[inline(always)]
    fn scales<L: Lanes>(l: L, blocks: &impl Blocks) -> L::F {
        blocks.f16s(l, q5_1::D)
    }
    #[inline(always)]
    fn mins<L: Lanes>(l: L, blocks: &impl Blocks) -> Option<L::F> {
        Some(blocks.f16s(l, q5_1::M))
    }
}

impl Grouped for Q8_0 {
    const BYTES: usize = q8_0::BYTES;
    const SIGNED: bool = true;
    const ZERO: i16 = 0;

    #[inline(always)]
    fn codes<L: Lanes>(l: L, a: &[u8], b: &[u8]) -> [L::V; 2] {
        let pair = |at: usize| l.load2(bytes_at(a, q8_0::QS + at), bytes_at(b, q8_0::QS + at));
        [pair(0), pair(16)]
    }
    #[inline(always)]
    fn scales<L: Lanes>(l: L, blocks: &impl Blocks) -> L::F {
        blocks.f16s(l, q8_0::D)
    }
}

impl Grouped for IQ4_NL {
    const BYTES: usize = iq4_nl::BYTES;
    const SIGNED: bool = true;
    const ZERO: i16 = 0;

    #[inline(always)]
    fn codes<L: Lanes>(l: L, a: &[u8], b: &[u8]) -> [L::V; 2] {
        looked_up(l, bytemuck::cast_ref(&iq4_nl::VALUES), nibbles(l, a, b, iq4_nl::QS))
    }
    #[inline(always)]
    fn scales<L: Lanes>(l: L, blocks: &impl Blocks) -> L::F {
        blocks.f16s(l, iq4_nl::D)
    }
}

impl MXFP4 {
    /// The values plus 12, which makes them unsigned.
    pub(super) const TABLE: [u8; 16] = {
        let mut table = [0; 16];
        let mut i = 0;
        while i < 16 {
            table[i] = (mxfp4::VALUES[i] + 12) as u8;
            i += 1;
        }
        table
    };
}

impl Grouped for MXFP4 {
    const BYTES: usize = mxfp4::BYTES;
    const SIGNED: bool = false;
    const ZERO: i16 = 12;

    #[inline(always)]
    fn codes<L: Lanes>(l: L, a: &[u8], b: &[u8]) -> [L::V; 2] {
        looked_up(l, &Self::TABLE, nibbles(l, a, b, mxfp4::QS))
    }
    #[inline(always)]
    fn scales<L: Lanes>(l: L, blocks: &impl Blocks) -> L::F {
        let mut exponents = 0;
        for i in 0..8 {
            exponents |= u64::from(blocks.block(i)[mxfp4::E]) << (8 * i);
        }
        l.fload_e8m0(&exponents.to_le_bytes())
    }
}
