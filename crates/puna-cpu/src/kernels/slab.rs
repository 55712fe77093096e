//! What the kernels of block-quantised weights and many rows share: a slab of weights, some outputs by some steps of 32
//! inputs, is unpacked to columns, as many outputs at a time as there are lanes; how the unpacked steps are kept is up to the
//! kernel.

use super::blocks::{Block, Shape, Step};
use super::lanes::columns::ROWS;
use super::lanes::{Columns, Kernel, Lanes};
use crate::matmul::MatRef;
use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::Range;

/// Where unpacked steps go.
pub(crate) trait Keep {
    /// Keeps step `at` of the slab for as many outputs from `first` on as there are lanes.
    fn keep<L: Columns>(&mut self, l: L, at: usize, first: usize, step: Step<L>);
}

/// Unpacks a slab. Beyond the last output, its weights are repeated: nothing reads their sums.
pub(crate) struct Unpack<'a, B, K> {
    w: MatRef<'a>,
    outs: &'a Range<usize>,
    steps: &'a Range<usize>,
    keep: K,
    block: PhantomData<B>,
}

impl<'a, B: Block, K> Unpack<'a, B, K> {
    /// The slab of these outputs and of these steps, which are whole blocks.
    pub(crate) fn new(w: MatRef<'a>, outs: &'a Range<usize>, steps: &'a Range<usize>, keep: K) -> Self {
        Self { w, outs, steps, keep, block: PhantomData }
    }

    /// The slab's part of the rows from output `first` of the slab on.
    #[inline(always)]
    fn rows(&self, first: usize) -> [&'a [u8]; ROWS] {
        let range = self.steps.start / B::STEPS * B::BYTES..self.steps.end / B::STEPS * B::BYTES;
        let mut rows = [&[][..]; ROWS];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = &self.w.row(self.outs.start + (first + i).min(self.outs.len() - 1))[range.clone()];
        }
        rows
    }
}

impl<B: Block, K: Keep> Kernel for Unpack<'_, B, K> {
    #[inline(always)]
    fn run<L: Columns>(mut self, l: L) {
        for first in (0..self.outs.len()).step_by(L::LANES) {
            B::unpack(l, self.rows(first), first, &mut self.keep);
        }
    }
}

/// The minima of half `half` of a step as they are kept: the first half's meets the sum of the first half alone, the second
/// one's that of the whole step.
#[inline(always)]
pub(crate) fn minimum<S: Shape, L: Lanes>(l: L, min: &[L::G; 2], half: usize) -> L::G {
    if S::HALVES && half == 0 { l.gfnma(min[1], l.gsplat(1.0), min[0]) } else { min[half] }
}

/// Weights that are asked for while others are multiplied: the processor does not foresee which rows come next, and all at
/// once would be more than it fetches at a time.
pub(crate) struct Ahead<'a> {
    w: MatRef<'a>,
    /// The output whose weights are asked for, and the end of them all.
    outs: Range<usize>,
    /// Its row of weights, which bytes of each row are wanted, and which of them are next.
    row: &'a [u8],
    bytes: Range<usize>,
    at: usize,
}

impl<'a> Ahead<'a> {
    /// What is unpacked after the outputs `part` of `outs` and the `slab` of `n` inputs, whatever those are counted in: other
    /// outputs, the next inputs, or at the end probably the outputs that follow. Slabs have `n_outs` by `depth`; `bytes` tells
    /// where some inputs are in a row.
    pub(crate) fn after(
        w: MatRef<'a>,
        (outs, part): (&Range<usize>, &Range<usize>),
        (slab, n): (&Range<usize>, usize),
        (n_outs, depth): (usize, usize),
        bytes: impl Fn(usize) -> usize,
    ) -> Self {
        let (first, start) = match (part.end < outs.end, slab.end < n) {
            (true, _) => (part.end, slab.start),
            (false, true) => (outs.start, slab.end),
            (false, false) => (outs.end, 0),
        };
        Self::new(w, first..first + n_outs, bytes(start)..bytes(n.min(start + depth)))
    }

    /// No weights.
    pub(crate) fn nothing(w: MatRef<'a>) -> Self {
        Self::new(w, 0..0, 0..0)
    }

    /// Those of these outputs, as far as there are such, within these bytes of each.
    fn new(w: MatRef<'a>, outs: Range<usize>, bytes: Range<usize>) -> Self {
        let outs = outs.start.min(w.mat.n_out)..outs.end.min(w.mat.n_out);
        if outs.is_empty() {
            return Self { w, outs, row: &[], bytes: 0..0, at: 0 };
        }
        Self { row: w.row(outs.start), w, outs, at: bytes.start, bytes }
    }

    /// Asks for `LINES` more cache lines.
    #[inline(always)]
    pub(crate) fn step<L: Lanes, const LINES: usize>(&mut self, l: L) {
        for _ in 0..LINES {
            if self.at >= self.bytes.end {
                if self.outs.len() <= 1 {
                    return;
                }
                self.outs.start += 1;
                self.row = self.w.row(self.outs.start);
                self.at = self.bytes.start;
            }
            l.prefetch(self.row, self.at);
            self.at += 64;
        }
    }
}

/// Working memory of so many values.
pub(crate) fn filled<T: Clone>(value: T, len: usize) -> Result<Vec<T>, TryReserveError> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(len)?;
    vec.resize(len, value);
    Ok(vec)
}

/// Consecutive ranges of `len`, the last one shorter.
pub(crate) fn chunks(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(len).map(move |start| start..end.min(start + len))
}
