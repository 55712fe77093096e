//! What the kernels of block-quantised weights and many rows share: a slab of weights, some outputs by some steps of 32
//! inputs, is unpacked eight outputs at a time, or as columns by formats and instruction sets that can; how the unpacked
//! steps are kept is up to the kernel.

use super::blocks::{Block, ByColumns, ColumnStep, Shape, Sides, Step};
use super::lanes::{self, Kernel, Lanes};
use crate::matmul::MatRef;
use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::Range;

/// Where unpacked steps go.
pub(crate) trait Keep {
    /// Whether columns are kept.
    const COLUMNS: bool = true;

    /// Keeps step `at` of the slab for the outputs `first .. first + 8` of the slab: their codes, and for each half their
    /// scales and minima.
    fn keep<L: Lanes>(
        &mut self,
        l: L,
        at: usize,
        first: usize,
        codes: [L::V; 8],
        scale: &[[f32; 8]; 2],
        min: &[[f32; 8]; 2],
    );

    /// Keeps step `at` of the slab for as many outputs from `first` on as there are lanes.
    fn keep_columns<L: lanes::Columns>(&mut self, l: L, at: usize, first: usize, step: ColumnStep<L>);
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

    /// The slab's part of `N` rows from output `first` of the slab on.
    #[inline(always)]
    fn rows<const N: usize>(&self, first: usize) -> [&'a [u8]; N] {
        let range = self.steps.start / B::STEPS * B::BYTES..self.steps.end / B::STEPS * B::BYTES;
        let mut rows = [&[][..]; N];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = &self.w.row(self.outs.start + (first + i).min(self.outs.len() - 1))[range.clone()];
        }
        rows
    }
}

impl<B: Block, K: Keep> Kernel for Unpack<'_, B, K> {
    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        if const { L::COLUMNS && B::Columns::ANY && K::COLUMNS } {
            for first in (0..self.outs.len()).step_by(L::LANES) {
                B::Columns::columns(l.columns(), self.rows(first), first, &mut self.keep);
            }
            return;
        }
        let (mut unpacked, mut sides) = ([[Step::ZERO; 8]; 8], Sides::ZERO);
        for first in (0..self.outs.len()).step_by(8) {
            let rows: [&[u8]; 8] = self.rows(first);
            for b in 0..self.steps.len() / B::STEPS {
                let mut blocks = [&[][..]; 8];
                for (block, row) in blocks.iter_mut().zip(&rows) {
                    *block = &row[b * B::BYTES..(b + 1) * B::BYTES];
                }
                B::sides(l, &blocks, &mut unpacked, &mut sides);
                for (s, (scale, min)) in sides.scale.iter().zip(&sides.min).enumerate().take(B::STEPS) {
                    let mut codes = [l.splat8(0); 8];
                    for ((codes, block), steps) in codes.iter_mut().zip(blocks).zip(&unpacked) {
                        *codes = B::step_codes(l, block, s, &steps[s]);
                    }
                    self.keep.keep(l, b * B::STEPS + s, first, codes, scale, min);
                }
            }
        }
    }
}

/// What the minima of half `half` of a step are as they are kept: the first half's meets the sum of the first half alone, the
/// second one's that of the whole step.
#[inline(always)]
pub(crate) fn minima<S: Shape>(min: &[[f32; 8]; 2], half: usize) -> [f32; 8] {
    let less = if S::HALVES && half == 0 { min[1] } else { [0.0; 8] };
    core::array::from_fn(|i| min[half][i] - less[i])
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
