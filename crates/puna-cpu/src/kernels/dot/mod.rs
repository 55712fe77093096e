//! Products of block-quantised weights with a few rows of 8-bit activations: weights are multiplied as they are
//! unpacked, each read once.

mod apart;
mod books;
mod groups;
mod six_bits;
mod super_blocks;
mod ternary;
mod wide_groups;
mod wide_super_blocks;

pub(crate) use books::{Book, Books};
pub(crate) use groups::Groups;
pub(crate) use six_bits::SixBits;
pub(crate) use super_blocks::{Codes, SuperBlocks};

use super::lanes::{Kernel, Lanes, Wide};
use crate::matmul::{MatRef, Packed, Q8Row};
use core::marker::PhantomData;
use core::ops::Range;

/// Asks for what is [`AHEAD`](Lanes::AHEAD) bytes behind a block or a group of blocks.
#[inline(always)]
fn prefetch<L: Lanes>(l: L, weights: &[u8]) {
    for line in 0..weights.len().div_ceil(64) {
        l.prefetch(weights, L::AHEAD + 64 * line);
    }
}

/// Up to this many rows of activations, it is about as fast or faster to multiply weights as they are unpacked than to unpack
/// them first. One thread of a Zen 3, `roofline --rows 4,5,8`, the best of three runs, GOP/s as few and as many: Q4_0 102 and
/// 92, 96 and 105, 101 and 121; Q8_0 68 and 55, 62 and 59, 67 and 71; Q3_K 70 and 70, 65 and 81, 70 and 96; Q4_K 81 and 86,
/// 75 and 98, 80 and 114; Q6_K 72 and 63, 66 and 72, 72 and 89. Eight rows on a Zen 5: Q4_0 212 and 353, Q8_0 195 and 303,
/// Q6_K 189 and 265; three rows of Q4_0 297 and 150.
pub(crate) const FEW_ROWS: usize = 4;

/// How the dot products of one row of weights are computed.
pub(crate) trait RowDot {
    /// Rows of activations that meet weights which are unpacked once: 1, 2 or 4.
    const TOGETHER: usize = 2;

    /// Products of a row of weights, which `row` begins with, with `N` rows of activations of `n_in` values, but for what
    /// [`add_rest`](Self::add_rest) adds.
    fn dots<L: Lanes, const N: usize>(l: L, row: &[u8], x: &[Q8Row<'_>; N], n_in: usize) -> [f32; N];

    /// Whether there are kernels with 64-byte vectors.
    const WIDE: bool = false;

    /// The products, with such vectors.
    #[inline(always)]
    fn wide_dots<W: Wide, const N: usize>(l: W, row: &[u8], x: &[Q8Row<'_>; N], n_in: usize) -> [f32; N] {
        Self::dots(l, row, x, n_in)
    }

    /// Adds what is best computed for four rows of weights together. As a rule nothing.
    #[inline(always)]
    fn add_rest<L: Lanes, const N: usize>(
        _: L,
        _rows: &[&[u8]; 4],
        _x: &[Q8Row<'_>; N],
        _n_in: usize,
        _out: &mut [[f32; N]; 4],
    ) {
    }
}

/// The product, written to `tile` without the row scales.
pub(crate) struct Dot<'a, R> {
    pub(crate) w: MatRef<'a>,
    pub(crate) x: Packed<'a>,
    pub(crate) outs: Range<usize>,
    pub(crate) tile: &'a mut [f32],
    pub(crate) row: PhantomData<R>,
}

impl<R: RowDot> Kernel for Dot<'_, R> {
    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        for first in (0..self.x.n_rows).step_by(FEW_ROWS) {
            let n_rows = FEW_ROWS.min(self.x.n_rows - first);
            let mut x = [self.x.q8(first); FEW_ROWS];
            for (r, x) in x.iter_mut().enumerate().take(n_rows).skip(1) {
                *x = self.x.q8(first + r);
            }
            for o in self.outs.clone().step_by(4) {
                // The weights come from memory for the first rows and from the cache for the others.
                let mut x = &x[..n_rows];
                while !x.is_empty() {
                    let r = first + n_rows - x.len();
                    x = match x.len() {
                        4.. if const { R::WIDE && L::WIDE && L::TOGETHER >= 4 } => {
                            self.dots::<L, 4>(l, o, r, x)
                        }
                        3 if const { R::WIDE && L::WIDE && L::TOGETHER >= 4 } => {
                            self.dots::<L, 3>(l, o, r, x)
                        }
                        4.. if const { R::TOGETHER >= 4 && L::TOGETHER >= 4 } => {
                            self.dots::<L, 4>(l, o, r, x)
                        }
                        2.. if const { R::TOGETHER >= 2 && L::TOGETHER >= 2 } => {
                            self.dots::<L, 2>(l, o, r, x)
                        }
                        _ => self.dots::<L, 1>(l, o, r, x),
                    };
                }
            }
        }
    }
}

impl<R: RowDot> Dot<'_, R> {
    /// Four outputs from `o` on of the first `N` rows of activations, which are rows `r..r + N` of all. Returns the others.
    #[inline(always)]
    fn dots<'x, L: Lanes, const N: usize>(
        &mut self,
        l: L,
        o: usize,
        r: usize,
        x: &'x [Q8Row<'x>],
    ) -> &'x [Q8Row<'x>] {
        let Some((x, rest)) = x.split_first_chunk::<N>() else { return &[] };
        // Past the end, the last row goes again.
        let row = |i: usize| self.w.row((o + i).min(self.outs.end - 1));
        let (rows, n_in) = ([row(0), row(1), row(2), row(3)], self.x.n_in);
        let mut dots = [[0.0; N]; 4];
        for (row, dots) in rows.iter().zip(&mut dots) {
            *dots = if const { R::WIDE && L::WIDE } {
                R::wide_dots::<L::Wide, N>(l.wide(), row, x, n_in)
            } else {
                R::dots::<L, N>(l, row, x, n_in)
            };
        }
        R::add_rest::<L, N>(l, &rows, x, n_in, &mut dots);
        for (o, dots) in (o..self.outs.end).zip(dots) {
            for (r, dot) in (r..).zip(dots) {
                self.tile[r * self.outs.len() + o - self.outs.start] = dot;
            }
        }
        rest
    }
}
