//! Many rows: a panel of weights becomes columns, pair by pair, and outputs run along the lanes. An activation is read for 32
//! outputs then, a weight for eight rows, and no sum has to be added up across lanes.
//!
//! Eight rows by two vectors are sixteen sums. If two of the instruction begin in a cycle and take six, twelve would just do;
//! neither that nor the sizes of panels and blocks has been timed.

use super::{Kernel, Pairs, Product, enter};
use crate::kernels::lanes::columns::ROWS as COLUMNS;
use crate::kernels::lanes::{Columns, Lanes};
use crate::kernels::panel::{self, MAX_WIDTH as WIDTH, load, store};
use crate::kernels::slab::{Ahead, chunks};
use crate::matmul::{Kernels, MatRef, Packed};
use core::ops::Range;

/// Outputs of a panel.
const OUTS: usize = 64;
/// Inputs of a panel: a group of its outputs is 32 KiB then, the larger part of a first-level cache.
const DEPTH: usize = 512;
/// Words of a group of outputs.
const GROUP: usize = DEPTH / 2 * WIDTH;
/// Cache lines of weights that are asked for with every two pairs of a few rows: all of a panel before the fewest rows have
/// passed.
const AHEAD_LINES: usize = 2;
/// Most rows of a block.
const BLOCK: usize = 8;

/// The product of more than [`few::ROWS`](super::few::ROWS) rows.
pub(super) fn product(kernels: &Kernels, p: Product<'_>) {
    let Product { w, x, outs, scratch, tile } = p;
    let n_in = w.mat.n_in;
    for depth in chunks(0..n_in, DEPTH) {
        for part in chunks(outs.clone(), OUTS) {
            let ahead = Ahead::after(w, (&outs, &part), (&depth, n_in), (OUTS, DEPTH), |input| 2 * input);
            enter(
                kernels,
                Many {
                    w,
                    x,
                    depth: &depth,
                    outs: &part,
                    panel: bytemuck::cast_slice_mut(&mut scratch.panel),
                    tile: &mut tile[part.start - outs.start..],
                    stride: outs.len(),
                    ahead,
                },
            );
        }
    }
}

/// The products of all rows with a panel.
struct Many<'a> {
    w: MatRef<'a>,
    x: Packed<'a>,
    depth: &'a Range<usize>,
    outs: &'a Range<usize>,
    /// `[OUTS / WIDTH][DEPTH / 2][WIDTH]` pairs.
    panel: &'a mut [u32],
    /// Rows of `stride` values, of which those of `outs` are computed. They hold the sums of earlier inputs.
    tile: &'a mut [f32],
    stride: usize,
    ahead: Ahead<'a>,
}

impl Kernel for Many<'_> {
    #[inline(always)]
    fn run<P: Pairs>(mut self, p: P) {
        for first in (0..self.outs.len()).step_by(COLUMNS) {
            self.columns(p.lanes(), first);
        }
        for rows in chunks(0..self.x.n_rows, panel::ROWS) {
            for column in (0..self.outs.len()).step_by(WIDTH) {
                let mut r = rows.start;
                while r < rows.end {
                    // Blocks of about the same height: of few rows each has sums that wait for each other.
                    let left = rows.end - r;
                    r += match left.div_ceil(left.div_ceil(BLOCK)) {
                        1 => self.block::<P, 1>(p, r, column),
                        2 => self.block::<P, 2>(p, r, column),
                        3 => self.block::<P, 3>(p, r, column),
                        4 => self.block::<P, 4>(p, r, column),
                        5 => self.block::<P, 5>(p, r, column),
                        6 => self.block::<P, 6>(p, r, column),
                        7 => self.block::<P, 7>(p, r, column),
                        _ => self.block::<P, BLOCK>(p, r, column),
                    };
                }
            }
        }
    }
}

impl Many<'_> {
    /// Makes columns of the outputs `first .. first + 16` of the panel. Beyond the last output, its weights are repeated: nothing
    /// reads their sums.
    #[inline(always)]
    fn columns<L: Columns>(&mut self, l: L, first: usize) {
        let group = &mut self.panel[first / WIDTH * GROUP + first % WIDTH..];
        let mut rows = [&[][..]; COLUMNS];
        for (i, row) in rows.iter_mut().enumerate() {
            let o = self.outs.start + (first + i).min(self.outs.len() - 1);
            *row = &self.w.row(o)[2 * self.depth.start..2 * self.depth.end];
        }
        let n_whole = self.depth.len() / 32;
        let mut whole: [&[[[u8; 16]; 4]]; COLUMNS] = [&[]; COLUMNS];
        for (whole, row) in whole.iter_mut().zip(rows) {
            *whole = &row.as_chunks().0.as_chunks().0[..n_whole];
        }
        for c in 0..n_whole {
            let mut chunks = [&[[0; 16]; 4]; COLUMNS];
            for (chunk, whole) in chunks.iter_mut().zip(whole) {
                *chunk = &whole[c];
            }
            put(l, &chunks, &mut group[c * 16 * WIDTH..]);
        }
        if n_whole * 32 < self.depth.len() {
            let mut last = [[[0; 16]; 4]; COLUMNS];
            for (last, row) in last.iter_mut().zip(rows) {
                let rest = &row[64 * n_whole..];
                last.as_flattened_mut()[..rest.len()].copy_from_slice(rest);
            }
            put(l, &last.each_ref(), &mut group[n_whole * 16 * WIDTH..]);
        }
    }

    /// `N` rows from row `r` on by the outputs from `column` on. Returns `N`.
    #[inline(always)]
    fn block<P: Pairs, const N: usize>(&mut self, p: P, r: usize, column: usize) -> usize {
        let l = p.lanes();
        // Two pairs of all outputs at a time; activations are padded with zeros as the panel is.
        let twice = self.depth.len().div_ceil(32) * 8;
        let panel = &self.panel[column / WIDTH * GROUP..][..twice * 2 * WIDTH];
        let mut rows: [&[[u8; 8]]; N] = [&[]; N];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = &self.x.row(r + i)[2 * self.depth.start..].as_chunks().0[..panel.len() / (2 * WIDTH)];
        }
        let n_out = WIDTH.min(self.outs.len() - column);
        let mut sums = [[l.gsplat(0.0); 2]; N];
        if self.depth.start > 0 {
            for (i, sums) in sums.iter_mut().enumerate() {
                *sums = load(l, &self.tile[(r + i) * self.stride + column..][..n_out]);
            }
        }
        for (k, weights) in panel.chunks_exact(2 * WIDTH).enumerate() {
            self.ahead.step::<P::Lanes, AHEAD_LINES>(l);
            let mut x = [&[0; 8]; N];
            for (x, row) in x.iter_mut().zip(&rows) {
                *x = &row[k];
            }
            for (i, weights) in weights.chunks_exact(WIDTH).enumerate() {
                let w = [l.tload(weights), l.tload(&weights[16..])];
                for (sums, x) in sums.iter_mut().zip(x) {
                    let x = p.splat(&x.as_chunks().0[i]);
                    sums[0] = p.dot(sums[0], w[0], x);
                    sums[1] = p.dot(sums[1], w[1], x);
                }
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            store(l, sums, &mut self.tile[(r + i) * self.stride + column..][..n_out]);
        }
        N
    }
}

/// Sixteen pairs of sixteen rows become columns: pair `j` of row `i` is word `j * WIDTH + i`.
#[inline(always)]
fn put<L: Columns>(l: L, rows: &[&[[u8; 16]; 4]; COLUMNS], to: &mut [u32]) {
    let mut lines = to.chunks_mut(WIDTH);
    for quarter in 0..4 {
        let mut at = [&[0; 16]; COLUMNS];
        for (at, row) in at.iter_mut().zip(rows) {
            *at = &row[quarter];
        }
        for (column, line) in l.tcolumns(at).into_iter().zip(&mut lines) {
            l.tstore(column, line);
        }
    }
}
