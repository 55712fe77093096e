//! Products of float rows with a panel of weights that lies in cache: what matrix products with many rows and attention
//! within groups are made of.
//!
//! A panel holds the weights of a few hundred inputs for some outputs, outputs side by side in groups of two vectors:
//! `[n_out / width][depth][width]`. Six rows and a group are twelve sums, two weights and one activation: the sixteen
//! registers of AVX2. The weights of a group stay in the first-level cache while [`ROWS`] rows pass, the activations of
//! these rows in the second-level cache while all groups pass.
//!
//! One thread of a Zen 3, 577 x 1408 by BF16 1408 x 1408, packing included, of 102 GFLOP/s that its multiply-add units
//! can do: 94 with panels of 704 inputs, 92 of 512, 91 of 352, 89 of 256 (each sum is read and written once for a
//! panel); 24 or 48 rows at a time do the same, 96 one per cent less, all 577 three.
//! Unchecked indices and a loop unrolled by four gain nothing.

use super::lanes::{Kernel, Lanes};
use super::slab::chunks;
use core::ops::Range;

/// Rows that pass all groups of a panel: their activations stay in the second-level cache meanwhile.
pub(crate) const ROWS: usize = 48;

/// Outputs of a group.
pub(crate) const fn width<L: Lanes>() -> usize {
    2 * L::LANES
}

/// Outputs of the widest group.
pub(crate) const MAX_WIDTH: usize = 32;

/// Values of a panel with the lanes of any instruction set: whole groups.
pub(crate) const fn len(depth: usize, n_out: usize) -> usize {
    depth.saturating_mul(n_out.next_multiple_of(MAX_WIDTH))
}

/// Products of a few rows and a group of outputs, all sums in registers.
pub(crate) trait Blocks {
    /// `N` rows from row `r` on by the outputs from `column` on. Returns `N`.
    fn block<L: Lanes, const N: usize>(&mut self, l: L, r: usize, column: usize) -> usize;

    /// All groups of `n_out` outputs one after the other, each for all of these rows, at most six at a time.
    #[inline(always)]
    fn pass<L: Lanes>(&mut self, l: L, rows: Range<usize>, n_out: usize) {
        for column in (0..n_out).step_by(const { width::<L>() }) {
            let mut r = rows.start;
            while r < rows.end {
                r += match rows.end - r {
                    1 => self.block::<L, 1>(l, r, column),
                    2 => self.block::<L, 2>(l, r, column),
                    3 => self.block::<L, 3>(l, r, column),
                    4 | 7 | 8 => self.block::<L, 4>(l, r, column),
                    5 => self.block::<L, 5>(l, r, column),
                    _ => self.block::<L, 6>(l, r, column),
                };
            }
        }
    }
}

/// Rows of F32 values in memory, `stride` bytes from one to the next.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) stride: usize,
    pub(crate) n_rows: usize,
}

/// `out[r][o] = sum_k x[r][k] * panel[k][o]`, or adds it to what is there.
pub(crate) struct Multiply<'a> {
    pub(crate) x: Strided<'a>,
    pub(crate) panel: &'a [f32],
    pub(crate) depth: usize,
    /// Rows of `stride` values, of which `n_out` are written.
    pub(crate) out: &'a mut [f32],
    pub(crate) stride: usize,
    pub(crate) n_out: usize,
    pub(crate) add: bool,
}

impl Kernel for Multiply<'_> {
    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        for rows in chunks(0..self.x.n_rows, ROWS) {
            self.pass(l, rows, self.n_out);
        }
    }
}

impl Blocks for Multiply<'_> {
    #[inline(always)]
    fn block<L: Lanes, const N: usize>(&mut self, l: L, r: usize, column: usize) -> usize {
        let width = const { width::<L>() };
        let panel = &self.panel[column * self.depth..][..width * self.depth];
        let mut rows: [&[[u8; 4]]; N] = [&[]; N];
        for (i, row) in rows.iter_mut().enumerate() {
            let values = self.x.bytes[(r + i) * self.x.stride..].as_chunks::<4>().0;
            *row = &values[..panel.len() / width];
        }
        let mut sums = [[l.gsplat(0.0); 2]; N];
        for (k, w) in panel.chunks_exact(width).enumerate() {
            let w = [l.gload(w), l.gload(&w[L::LANES..])];
            for (sums, row) in sums.iter_mut().zip(&rows) {
                let x = l.gsplat(f32::from_ne_bytes(row[k]));
                sums[0] = l.gfma(w[0], x, sums[0]);
                sums[1] = l.gfma(w[1], x, sums[1]);
            }
        }
        let n_out = width.min(self.n_out - column);
        for (i, mut sums) in sums.into_iter().enumerate() {
            let out = &mut self.out[(r + i) * self.stride + column..][..n_out];
            if self.add {
                for (sum, before) in sums.iter_mut().zip(load(l, out)) {
                    *sum = l.gadd(*sum, before);
                }
            }
            store(l, sums, out);
        }
        N
    }
}

/// The sums of a group of outputs, of which the last may be narrower.
#[inline(always)]
pub(crate) fn load<L: Lanes>(l: L, from: &[f32]) -> [L::G; 2] {
    if let Some(from) = from.get(..const { width::<L>() }) {
        return [l.gload(from), l.gload(&from[L::LANES..])];
    }
    let mut values = [0.0; MAX_WIDTH];
    values.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    [l.gload(&values), l.gload(&values[L::LANES..])]
}

/// Stores what [`load`] loads.
#[inline(always)]
pub(crate) fn store<L: Lanes>(l: L, group: [L::G; 2], to: &mut [f32]) {
    if let Some(to) = to.get_mut(..const { width::<L>() }) {
        l.gstore(group[0], to);
        return l.gstore(group[1], &mut to[L::LANES..]);
    }
    let mut values = [0.0; MAX_WIDTH];
    l.gstore(group[0], &mut values);
    l.gstore(group[1], &mut values[L::LANES..]);
    to.iter_mut().zip(values).for_each(|(to, value)| *to = value);
}

/// Eight rows of `n` values, `stride` from one to the next, become columns of a group: eight lanes of each `width`.
/// What the rows hold up to the next multiple of eight values is read and not used.
#[inline(always)]
pub(crate) fn columns<L: Lanes>(
    l: L,
    rows: &[f32],
    stride: usize,
    n: usize,
    group: &mut [u32],
    width: usize,
) {
    let words: &[[u8; 4]] = bytemuck::cast_slice(rows);
    for k in (0..n).step_by(8) {
        let mut columns = [l.splat8(0); 8];
        for (i, column) in columns.iter_mut().enumerate() {
            let words = words[i * stride + k..].as_chunks::<8>().0;
            *column = l.load(bytemuck::cast_ref(&words[0]));
        }
        for (k, column) in (k..n).zip(transpose(l, columns)) {
            l.store(column, &mut group[k * width..]);
        }
    }
}

/// Turns eight rows of eight 32-bit values into columns.
#[inline(always)]
pub(crate) fn transpose<L: Lanes>(l: L, rows: [L::V; 8]) -> [L::V; 8] {
    let mut columns = [l.splat8(0); 8];
    // Columns 0 to 3 in the low halves, 4 to 7 in the high ones: of the rows 0 to 3, then of 4 to 7.
    for (rows, columns) in rows.as_chunks::<4>().0.iter().zip(columns.as_chunks_mut::<4>().0) {
        let (a, b) = (l.zip32_low(rows[0], rows[1]), l.zip32_low(rows[2], rows[3]));
        let (c, d) = (l.zip32_high(rows[0], rows[1]), l.zip32_high(rows[2], rows[3]));
        *columns = [l.zip64_low(a, b), l.zip64_high(a, b), l.zip64_low(c, d), l.zip64_high(c, d)];
    }
    let parts = columns;
    for j in 0..4 {
        columns[j] = l.halves_low(parts[j], parts[j + 4]);
        columns[j + 4] = l.halves_high(parts[j], parts[j + 4]);
    }
    columns
}
