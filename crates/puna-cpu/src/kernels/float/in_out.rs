//! `[n_in, n_out]` weights: outputs run along the lanes and each activation multiplies a whole vector of them.

use super::source::Source;
use super::{DEPTH, Expand, OUTS, Product, chunks};
use crate::kernels::lanes::{Kernel, Lanes};
use crate::matmul::{Kernels, MatRef, Packed};
use core::marker::PhantomData;
use core::ops::Range;

/// Up to this many rows, whole rows of weights are added to the sums as they stream by; beyond, panels are expanded.
const FEW_ROWS: usize = 4;
/// Inputs whose weights are added to a vector of sums at a time.
const UNROLL: usize = 8;

pub(super) fn product<S: Source>(kernels: &Kernels, p: Product<'_>) {
    p.tile.fill(0.0);
    if p.x.n_rows <= FEW_ROWS {
        return kernels.enter(Stream { product: p, source: PhantomData::<S> });
    }
    for depth in chunks(0..p.w.mat.n_in, DEPTH) {
        for outs in chunks(p.outs.clone(), OUTS) {
            let w = MatRef { bytes: &p.w.bytes[outs.start * S::SIZE..], ..p.w };
            let panel = &mut p.scratch.panel[..depth.len() * OUTS];
            let source = PhantomData::<S>;
            kernels.enter(Expand { w, rows: &depth, at: 0, n: outs.len(), stride: OUTS, panel, source });
            kernels.enter(Multiply {
                panel,
                x: p.x,
                depth: &depth,
                first: outs.start - p.outs.start,
                n_outs: outs.len(),
                stride: p.outs.len(),
                tile: &mut *p.tile,
            });
        }
    }
}

/// Adds the weights as they come from memory.
struct Stream<'a, S> {
    product: Product<'a>,
    source: PhantomData<S>,
}

impl<S: Source> Kernel for Stream<'_, S> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        stream::<L, S>(l, self.product);
    }
}

#[inline(always)]
fn activation(row: &[u8], i: usize) -> f32 {
    f32::from_ne_bytes(row.as_chunks::<4>().0[i])
}

#[inline(always)]
fn stream<L: Lanes, S: Source>(l: L, p: Product<'_>) {
    let width = p.outs.len();
    for ins in chunks(0..p.w.mat.n_in, UNROLL) {
        for (r, sums) in p.tile.chunks_exact_mut(width).enumerate() {
            // The weights come from memory for the first row and from the cache for the others.
            let x = p.x.row(r);
            let mut w: [&[u8]; UNROLL] = [&[]; UNROLL];
            for (w, i) in w.iter_mut().zip(ins.clone()) {
                *w = &p.w.row(i)[p.outs.start * S::SIZE..p.outs.end * S::SIZE];
            }
            if ins.len() == UNROLL {
                add_rows::<L, S, UNROLL>(l, &w, x, ins.start, sums);
            } else {
                for (w, i) in w.iter().zip(ins.clone()) {
                    add_rows::<L, S, 1>(l, &[w], x, i, sums);
                }
            }
        }
    }
}

/// Adds `N` rows of weights times the activations from input `at` on.
#[inline(always)]
fn add_rows<L: Lanes, S: Source, const N: usize>(
    l: L,
    w: &[&[u8]; N],
    x: &[u8],
    at: usize,
    sums: &mut [f32],
) {
    let mut factors = [l.gsplat(0.0); N];
    for (i, factor) in factors.iter_mut().enumerate() {
        *factor = l.gsplat(activation(x, at + i));
    }
    let (whole, rest) = sums.as_chunks_mut::<16>();
    let mut chunks = [&[][..]; N];
    for (chunks, w) in chunks.iter_mut().zip(w) {
        *chunks = &S::chunks(w)[..whole.len()];
    }
    for (o, sums) in whole.iter_mut().enumerate() {
        for (v, sums) in sums.chunks_exact_mut(L::LANES).enumerate() {
            let mut sum = l.gload(sums);
            for (chunks, factor) in chunks.iter().zip(&factors) {
                sum = l.gfma(S::load(l, &chunks[o], v), *factor, sum);
            }
            l.gstore(sum, sums);
        }
    }
    if !rest.is_empty() {
        let mut values = [0.0; 16];
        values[..rest.len()].copy_from_slice(rest);
        for (w, factor) in w.iter().zip(&factors) {
            let last = S::padded(&w[16 * whole.len() * S::SIZE..]);
            for (v, values) in values.chunks_exact_mut(L::LANES).enumerate() {
                l.gstore(l.gfma(S::load(l, &last, v), *factor, l.gload(values)), values);
            }
        }
        rest.copy_from_slice(&values[..rest.len()]);
    }
}

/// Adds the products of all rows of activations with a panel `[depth][OUTS]`.
struct Multiply<'a> {
    panel: &'a [f32],
    x: Packed<'a>,
    depth: &'a Range<usize>,
    /// Outputs, and the first one's column in the tile of `stride` columns.
    first: usize,
    n_outs: usize,
    stride: usize,
    tile: &'a mut [f32],
}

impl Kernel for Multiply<'_> {
    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        for column in (0..self.n_outs).step_by(2 * L::LANES) {
            let mut r = 0;
            while r < self.x.n_rows {
                r += match self.x.n_rows - r {
                    1 => multiply::<L, 1>(l, &mut self, column, r),
                    2 | 3 => multiply::<L, 2>(l, &mut self, column, r),
                    4 | 5 => multiply::<L, 4>(l, &mut self, column, r),
                    _ => multiply::<L, 6>(l, &mut self, column, r),
                };
            }
        }
    }
}

/// Adds the products of `N` rows of activations with two vectors of outputs. Returns `N`.
#[inline(always)]
fn multiply<L: Lanes, const N: usize>(l: L, m: &mut Multiply<'_>, column: usize, r: usize) -> usize {
    let n_outs = (m.n_outs - column).min(2 * L::LANES);
    let mut rows: [&[[u8; 4]]; N] = [&[]; N];
    let mut values = [[0.0; 32]; N];
    for (i, (row, values)) in rows.iter_mut().zip(&mut values).enumerate() {
        *row = &m.x.row(r + i).as_chunks::<4>().0[m.depth.clone()];
        values[..n_outs].copy_from_slice(&m.tile[(r + i) * m.stride + m.first + column..][..n_outs]);
    }
    let mut sums = [[l.gsplat(0.0); 2]; N];
    for (sums, values) in sums.iter_mut().zip(&values) {
        *sums = [l.gload(values), l.gload(&values[L::LANES..])];
    }
    let panel = m.panel.as_chunks::<OUTS>().0;
    for row in &mut rows {
        *row = &row[..panel.len()];
    }
    for (k, w) in panel.iter().enumerate() {
        let w = [l.gload(&w[column..]), l.gload(&w[column + L::LANES..])];
        for (sums, row) in sums.iter_mut().zip(&rows) {
            let x = l.gsplat(f32::from_ne_bytes(row[k]));
            sums[0] = l.gfma(w[0], x, sums[0]);
            sums[1] = l.gfma(w[1], x, sums[1]);
        }
    }
    for (i, (sums, values)) in sums.iter().zip(&mut values).enumerate() {
        l.gstore(sums[0], values);
        l.gstore(sums[1], &mut values[L::LANES..]);
        m.tile[(r + i) * m.stride + m.first + column..][..n_outs].copy_from_slice(&values[..n_outs]);
    }
    N
}
