//! Products of block-quantised weights with a few rows of 8-bit activations: weights are multiplied as they are
//! unpacked, each read once.

mod any;
mod groups;
mod super_blocks;

pub(crate) use any::Any;
pub(crate) use groups::Groups;
pub(crate) use super_blocks::{Super, SuperBlocks};

use super::lanes::{Kernel, Lanes};
use crate::matmul::{MatRef, Packed, Q8Row};
use core::marker::PhantomData;
use core::ops::Range;

/// How the dot products of one row of weights are computed.
pub(crate) trait RowDot {
    /// Up to this many rows of activations, this is faster than to unpack the weights first (measured on Zen 3).
    const FEW_ROWS: usize;

    /// Products of a row of weights, which `row` begins with, with `N` rows of activations of `n_in` values.
    fn dots<L: Lanes, const N: usize>(l: L, row: &[u8], x: &[Q8Row<'_>; N], n_in: usize) -> [f32; N];
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
        for o in self.outs.clone() {
            let mut r = 0;
            while r < self.x.n_rows {
                // The weights come from memory for the first rows and from the cache for the others.
                r += match self.x.n_rows - r {
                    1 => self.dots::<L, 1>(l, o, r),
                    _ => self.dots::<L, 2>(l, o, r),
                };
            }
        }
    }
}

impl<R: RowDot> Dot<'_, R> {
    /// Output `o` of rows `r..r + N` of activations. Returns `N`.
    #[inline(always)]
    fn dots<L: Lanes, const N: usize>(&mut self, l: L, o: usize, r: usize) -> usize {
        let mut x = [self.x.q8(r); N];
        for (i, x) in x.iter_mut().enumerate() {
            *x = self.x.q8(r + i);
        }
        for (i, dot) in R::dots::<L, N>(l, self.w.row(o), &x, self.x.n_in).iter().enumerate() {
            self.tile[(r + i) * self.outs.len() + o - self.outs.start] = *dot;
        }
        N
    }
}
