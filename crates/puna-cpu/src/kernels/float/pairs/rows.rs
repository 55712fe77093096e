//! Weights in BF16 and F16 become columns, pair by pair.

use super::many::{Fill, GROUP, Panel};
use crate::kernels::lanes::columns::ROWS as COLUMNS;
use crate::kernels::lanes::{Columns, Kernel};
use crate::kernels::panel::MAX_WIDTH as WIDTH;
use crate::matmul::Kernels;

/// Rows of BF16, or of F16, which are rounded.
pub(super) struct Rows<const F16: bool>;

impl<const F16: bool> Fill for Rows<F16> {
    fn bytes(input: usize) -> usize {
        2 * input
    }
    fn fill(kernels: &Kernels, panel: Panel<'_>) {
        kernels.enter(Transpose::<F16>(panel));
    }
}

struct Transpose<'a, const F16: bool>(Panel<'a>);

impl<const F16: bool> Kernel for Transpose<'_, F16> {
    #[inline(always)]
    fn run<L: Columns>(mut self, l: L) {
        for first in (0..self.0.outs.len()).step_by(L::LANES) {
            self.columns(l, first);
        }
    }
}

impl<const F16: bool> Transpose<'_, F16> {
    /// Makes columns of as many outputs from `first` on as there are lanes. Beyond the last output, its weights are repeated:
    /// nothing reads their sums.
    #[inline(always)]
    fn columns<L: Columns>(&mut self, l: L, first: usize) {
        let Panel { w, depth, outs, words, ahead } = &mut self.0;
        let group = &mut words[first / WIDTH * GROUP + first % WIDTH..];
        let mut rows = [&[][..]; COLUMNS];
        for (i, row) in rows.iter_mut().enumerate() {
            let o = outs.start + (first + i).min(outs.len() - 1);
            *row = &w.row(o)[2 * depth.start..2 * depth.end];
        }
        let n_whole = depth.len() / 32;
        let mut whole: [&[[[u8; 16]; 4]]; COLUMNS] = [&[]; COLUMNS];
        for (whole, row) in whole.iter_mut().zip(rows) {
            *whole = &row.as_chunks().0.as_chunks().0[..n_whole];
        }
        for c in 0..n_whole {
            // As many lines as are read.
            for _ in 0..L::LANES {
                ahead.step::<L, 1>(l);
            }
            let mut chunks = [&[[0; 16]; 4]; COLUMNS];
            for (chunk, whole) in chunks.iter_mut().zip(whole) {
                *chunk = &whole[c];
            }
            put::<F16, L>(l, &chunks, &mut group[c * 16 * WIDTH..]);
        }
        if n_whole * 32 < depth.len() {
            let mut last = [[[0; 16]; 4]; COLUMNS];
            for (last, row) in last.iter_mut().zip(rows) {
                let rest = &row[64 * n_whole..];
                last.as_flattened_mut()[..rest.len()].copy_from_slice(rest);
            }
            put::<F16, L>(l, &last.each_ref(), &mut group[n_whole * 16 * WIDTH..]);
        }
    }
}

/// Sixteen pairs of all rows become columns: pair `j` of row `i` is word `j * WIDTH + i`.
#[inline(always)]
fn put<const F16: bool, L: Columns>(l: L, rows: &[&[[u8; 16]; 4]; COLUMNS], to: &mut [u32]) {
    let mut lines = to.chunks_mut(WIDTH);
    for quarter in 0..4 {
        let mut at = [&[0; 16]; COLUMNS];
        for (at, row) in at.iter_mut().zip(rows) {
            *at = &row[quarter];
        }
        for (column, line) in l.tcolumns(at).into_iter().zip(&mut lines) {
            let column = match F16 {
                true => {
                    let [low, high] = [l.gwords(column, false), l.gwords(column, true)];
                    l.tbf16_pairs(l.gone_nan(low), l.gone_nan(high))
                }
                false => column,
            };
            l.tstore(column, line);
        }
    }
}
