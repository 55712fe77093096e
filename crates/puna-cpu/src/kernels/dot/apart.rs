//! Blocks of 32 values that make no whole group: those that groups of eight leave over at the end of a row, and those whose
//! activations have a residual. Two such blocks of four rows of weights make a group: lanes `r` and `4 + r` are row `r`'s,
//! and the four share the two blocks of activations.
//!
//! In SmolLM2-135M, whose hidden size of 576 leaves two blocks, a third of the time of Q4_0's products went into them when
//! each row had groups of its own for them, mostly of zeros. Decode on a Zen 3 before and since, five runs in turns: Q4_0
//! 84 and 98 tokens/s with one thread, 113 and 138 with two; Q8_0 with two 100 and 104.

use super::groups::{Blocks, Grouped, MOST_BYTES, add_scaled, pair_dot};
use crate::kernels::blocks::bytes_at;
use crate::kernels::lanes::Lanes;
use crate::matmul::{Plane, Q8Row};

/// Eight blocks of anywhere.
struct Apart<'a>([&'a [u8]; 8]);

impl Blocks for Apart<'_> {
    #[inline(always)]
    fn block(&self, i: usize) -> &[u8] {
        self.0[i]
    }
    #[inline(always)]
    fn f16s<L: Lanes>(&self, l: L, at: usize) -> L::F {
        let mut halves = [0; 8];
        for (half, block) in halves.iter_mut().zip(&self.0) {
            *half = u16::from_le_bytes(*bytes_at(block, at));
        }
        l.fload_f16(&halves)
    }
}

/// Two blocks of activations, each of them in a half.
struct Pair<L: Lanes> {
    /// Their first halves, then their last.
    codes: [L::V; 2],
    /// Their scales.
    d: L::F,
    /// The sums of their halves.
    sums: L::V,
}

impl<L: Lanes> Pair<L> {
    /// Blocks `i` and `j` of group `g`.
    #[inline(always)]
    fn new(l: L, x: &Plane<'_>, g: usize, i: usize, j: usize) -> Self {
        let codes: &[u8; 256] = x.chunk(x.codes, g);
        let (d, sums): (&[u8; 32], &[u8; 32]) = (x.chunk(x.d, g), x.chunk(x.sums, g));
        let of = |from: &[u8; 32], i: usize| u32::from_ne_bytes(*bytes_at(from, 4 * i));
        let (a, b) = (first_half(i), first_half(j));
        Self {
            codes: [
                l.load2(bytes_at(codes, a), bytes_at(codes, b)),
                l.load2(bytes_at(codes, a + 64), bytes_at(codes, b + 64)),
            ],
            d: l.fsplat_halves(f32::from_bits(of(d, i)), f32::from_bits(of(d, j))),
            sums: l.splat32_halves(of(sums, i), of(sums, j)),
        }
    }
}

/// Where the first half of block `i` is in a group of activations, which are packed in the order of
/// [`add_group`](super::groups).
const fn first_half(i: usize) -> usize {
    16 * (i % 4 / 2 * 8 + i % 2 * 2 + i / 4)
}

/// Adds the products of these blocks of four rows of weights to `out`.
#[inline(always)]
pub(super) fn add<L: Lanes, B: Grouped, const N: usize>(
    l: L,
    rows: &[&[u8]; 4],
    x: &[Q8Row<'_>; N],
    n_in: usize,
    out: &mut [[f32; N]; 4],
) {
    let (n_groups, n_rest) = (n_in / 256, n_in % 256 / 32);
    for (i, x) in x.iter().enumerate() {
        if n_rest + x.n_residual == 0 {
            continue;
        }
        let mut sum = l.fsplat(0.0);
        for j in (0..n_rest).step_by(2) {
            let first = 8 * n_groups + j;
            let blocks = match j + 1 < n_rest {
                true => at::<B>(rows, [first, first + 1]),
                // A block of zeros meets activations of zero.
                false => alone::<B>(rows, first),
            };
            add_pair::<L, B>(l, &blocks, &Pair::new(l, &x.plane, n_groups, j, j + 1), &mut sum);
        }
        for pair in 0..x.n_residual.div_ceil(2) {
            let (g, j) = (pair / 4, pair % 4);
            let places = [x.place(8 * g + j), x.place(8 * g + 4 + j)];
            add_pair::<L, B>(l, &at::<B>(rows, places), &Pair::new(l, &x.residual, g, j, 4 + j), &mut sum);
        }
        let mut lanes = [0.0; 8];
        l.fstore(sum, &mut lanes);
        let (low, high) = lanes.split_at(4);
        for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
            out[i] += low + high;
        }
    }
}

/// The blocks at two places of each row.
#[inline(always)]
fn at<'a, B: Grouped>(rows: &[&'a [u8]; 4], places: [usize; 2]) -> Apart<'a> {
    let mut blocks = [&[][..]; 8];
    for (blocks, place) in blocks.chunks_exact_mut(4).zip(places) {
        for (block, row) in blocks.iter_mut().zip(rows) {
            *block = &row[place * B::BYTES..][..B::BYTES];
        }
    }
    Apart(blocks)
}

/// The block at one place of each row, and one of zeros.
#[inline(always)]
fn alone<'a, B: Grouped>(rows: &[&'a [u8]; 4], place: usize) -> Apart<'a> {
    let Apart([a, b, c, d, ..]) = at::<B>(rows, [place; 2]);
    let none = &[0; MOST_BYTES][..B::BYTES];
    Apart([a, b, c, d, none, none, none, none])
}

/// Adds the products of two blocks of each of four rows with two blocks of activations.
#[inline(always)]
fn add_pair<L: Lanes, B: Grouped>(l: L, blocks: &Apart<'_>, x: &Pair<L>, sum: &mut L::F) {
    let mut dots = [l.splat8(0); 4];
    for (r, dot) in dots.iter_mut().enumerate() {
        *dot = pair_dot::<L, B>(l, B::codes(l, blocks.block(r), blocks.block(4 + r)), x.codes);
    }
    add_scaled::<L, B>(l, dots, (B::scales(l, blocks), B::mins(l, blocks)), x.sums, x.d, sum);
}
