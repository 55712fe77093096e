//! Products of block-quantised weights with a few rows of 8-bit activations: weights are multiplied as they are
//! unpacked, each read once.

mod any;
mod groups;
mod super_blocks;

pub(crate) use any::Any;
pub(crate) use groups::Groups;
pub(crate) use super_blocks::SuperBlocks;

use super::lanes::{Kernel, Lanes};
use crate::matmul::{MatRef, Packed, Q8Row};
use core::marker::PhantomData;
use core::ops::Range;

/// How the dot products of one row of weights are computed.
pub(crate) trait RowDot {
    /// Products of a row of weights, which `row` begins with, with `N` rows of activations of `n_in` values.
    fn dots<L: Lanes, const N: usize>(l: L, row: &[u8], x: &[Q8Row<'_>; N], n_in: usize) -> [f32; N];
}

/// The product with at most four rows, written to `tile` without the row scales.
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
        let mut r = 0;
        while r < self.x.n_rows {
            r += match self.x.n_rows - r {
                1 => rows::<L, R, 1>(l, &mut self, r),
                _ => rows::<L, R, 2>(l, &mut self, r),
            };
        }
    }
}

/// Rows `r..r + N` of activations. Returns `N`.
#[inline(always)]
fn rows<L: Lanes, R: RowDot, const N: usize>(l: L, d: &mut Dot<'_, R>, r: usize) -> usize {
    let mut x = [d.x.q8(r); N];
    for (i, x) in x.iter_mut().enumerate() {
        *x = d.x.q8(r + i);
    }
    let width = d.outs.len();
    for (i, o) in d.outs.clone().enumerate() {
        let dots = R::dots::<L, N>(l, d.w.row(o), &x, d.x.n_in);
        for (j, dot) in dots.iter().enumerate() {
            d.tile[(r + j) * width + i] = *dot;
        }
    }
    N
}
