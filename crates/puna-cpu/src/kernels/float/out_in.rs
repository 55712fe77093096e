//! `[n_out, n_in]` weights: dot products along the inputs, three rows of activations by four of weights at a time.

use super::source::{F32, Source, padded};
use super::{DEPTH, Expand, OUTS, Product, chunks};
use crate::kernels::lanes::{Kernel, Lanes};
use crate::matmul::{Kernels, Packed};
use core::marker::PhantomData;

/// Up to this many rows, plain weights are read where they are; beyond, they are expanded to floats first.
const FEW_ROWS: usize = 4;

pub(super) fn product<S: Source>(kernels: &Kernels, p: Product<'_>) {
    let direct = S::SIZE > 0 && (p.x.n_rows <= FEW_ROWS || S::SIZE == 4);
    for depth in chunks(0..p.w.mat.n_in, DEPTH) {
        for outs in chunks(p.outs.clone(), OUTS) {
            let mut rows: [&[u8]; OUTS] = [&[]; OUTS];
            if direct {
                for (row, o) in rows.iter_mut().zip(outs.clone()) {
                    *row = &p.w.row(o)[depth.start * S::SIZE..depth.end * S::SIZE];
                }
            } else {
                kernels.enter(Expand {
                    w: p.w,
                    rows: &outs,
                    at: depth.start,
                    n: depth.len(),
                    stride: DEPTH,
                    panel: &mut p.scratch.panel,
                    source: PhantomData::<S>,
                });
                for (row, panel) in rows.iter_mut().zip(p.scratch.panel.chunks_exact(DEPTH)) {
                    *row = bytemuck::cast_slice(&panel[..depth.len()]);
                }
            }
            let to = Sums {
                tile: &mut *p.tile,
                stride: p.outs.len(),
                first: outs.start - p.outs.start,
                add: depth.start > 0,
            };
            let (w, x, at, n) = (&rows[..outs.len()], p.x, depth.start, depth.len());
            if direct {
                kernels.enter(Dots { w, x, at, n, to, source: PhantomData::<S> });
            } else {
                kernels.enter(Dots { w, x, at, n, to, source: PhantomData::<F32> });
            }
        }
    }
}

/// Dot products of rows of `n` weights with all rows of activations, from input `at` on.
struct Dots<'a, S> {
    w: &'a [&'a [u8]],
    x: Packed<'a>,
    at: usize,
    n: usize,
    to: Sums<'a>,
    source: PhantomData<S>,
}

impl<S: Source> Kernel for Dots<'_, S> {
    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        let mut r = 0;
        while self.x.n_rows - r >= 3 {
            row_dots::<L, S, 3>(l, &mut self, r);
            r += 3;
        }
        match self.x.n_rows - r {
            1 => row_dots::<L, S, 1>(l, &mut self, r),
            2 => row_dots::<L, S, 2>(l, &mut self, r),
            _ => {}
        }
    }
}

/// Where sums go: `tile[r * stride + first + o]`.
struct Sums<'a> {
    tile: &'a mut [f32],
    stride: usize,
    first: usize,
    add: bool,
}

#[inline(always)]
fn row_dots<L: Lanes, S: Source, const N: usize>(l: L, d: &mut Dots<'_, S>, r: usize) {
    let mut rows: [&[u8]; N] = [&[]; N];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = &d.x.row(r + i)[4 * d.at..];
    }
    let (fours, ones) = d.w.as_chunks::<4>();
    for (o, w) in fours.iter().enumerate() {
        dots::<L, S, N, 4>(l, w, &rows, d.n, r, 4 * o, &mut d.to);
    }
    for (o, w) in ones.iter().enumerate() {
        dots::<L, S, N, 1>(l, &[w], &rows, d.n, r, 4 * fours.len() + o, &mut d.to);
    }
}

/// `N` by `R` dot products of length `n`, put at row `r` and output `o`.
#[inline(always)]
fn dots<L: Lanes, S: Source, const N: usize, const R: usize>(
    l: L,
    w: &[&[u8]; R],
    x: &[&[u8]; N],
    n: usize,
    r: usize,
    o: usize,
    to: &mut Sums<'_>,
) {
    let mut sums = [[l.gsplat(0.0); R]; N];
    let whole = n - n % L::LANES;
    let mut i = 0;
    while i < whole {
        let mut weights = [l.gsplat(0.0); R];
        for (to, w) in weights.iter_mut().zip(w) {
            *to = S::load(l, &w[i * S::SIZE..]);
        }
        for (sums, x) in sums.iter_mut().zip(x) {
            let x = l.gload_f32(&x[4 * i..]);
            for (sum, w) in sums.iter_mut().zip(&weights) {
                *sum = l.gfma(x, *w, *sum);
            }
        }
        i += L::LANES;
    }
    if whole < n {
        for (j, w) in w.iter().enumerate() {
            let w = S::load(l, &padded(&w[whole * S::SIZE..n * S::SIZE]));
            for (sums, x) in sums.iter_mut().zip(x) {
                // Activations are padded with zeros.
                sums[j] = l.gfma(l.gload_f32(&x[4 * whole..]), w, sums[j]);
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        for (j, sum) in sums.iter().enumerate() {
            let to_sum = &mut to.tile[(r + i) * to.stride + to.first + o + j];
            let sum = l.gsum(*sum);
            *to_sum = if to.add { *to_sum + sum } else { sum };
        }
    }
}
