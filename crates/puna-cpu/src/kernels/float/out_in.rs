//! `[n_out, n_in]` weights. Very few rows: weights as they stream by. Some: dot products along the inputs, three rows of
//! activations by four of weights at a time. Many: panels whose columns the weights become.

use super::source::{F32, Source};
use super::stream::Stream;
use super::{DEPTH, FloatScratch, OUTS, Product, chunks, multiply};
use crate::kernels::lanes::{Kernel, Lanes};
use crate::kernels::panel;
use crate::matmul::{Kernels, MatRef, Packed};
use core::marker::PhantomData;
use core::ops::Range;
use puna_core::quant::dequantize_row;

/// Up to this many rows, plain weights are multiplied as they come; beyond, they are expanded to floats first.
const FEW_ROWS: usize = 4;
/// Up to this many rows, dot products are faster than to make columns of the weights.
const SOME_ROWS: usize = 32;
/// Outputs whose rows are expanded for dot products.
const DOT_OUTS: usize = 32;
/// Rows whose activations stay in the second-level cache while the weights of a panel pass by.
const CHUNK: usize = 48;
/// Floats from one expanded row to the next: rows of a power of two would fight for the same sets of the cache.
pub(super) const STRIDE: usize = DEPTH + 16;

/// The product with a plain format.
pub(super) fn product<S: Source>(kernels: &Kernels, p: Product<'_>) {
    if p.x.n_rows <= FEW_ROWS {
        return kernels.enter(Stream { product: p, source: PhantomData::<S> });
    }
    rows_or_columns(kernels, p, S::SIZE == 4, |p: Piece<'_>| {
        kernels.enter(Expand { piece: p, source: PhantomData::<S> });
    });
}

/// The product with a block format: weights are expanded by the reference, which is slow and exact. Who asks for F32
/// activations asks for that.
pub(super) fn blocks(kernels: &Kernels, p: Product<'_>) {
    rows_or_columns(kernels, p, false, |p: Piece<'_>| {
        let dtype = p.w.mat.dtype;
        let [start, len] = [p.at, p.n].map(|n| dtype.row_bytes(n).unwrap_or(0));
        for (to, r) in p.to.chunks_exact_mut(STRIDE).zip(p.rows) {
            let to = &mut to[..p.n];
            if dequantize_row(dtype, &p.w.row(r)[start..start + len], to).is_err() {
                to.fill(f32::NAN);
            }
        }
    });
}

/// Rows of weights to be expanded.
struct Piece<'a> {
    w: MatRef<'a>,
    rows: Range<usize>,
    /// Values `at..at + n` of each.
    at: usize,
    n: usize,
    /// Rows of [`STRIDE`] floats.
    to: &'a mut [f32],
}

/// If they are `floats`, weights are multiplied as they are, unless they become columns.
fn rows_or_columns(kernels: &Kernels, mut p: Product<'_>, floats: bool, expand: impl Fn(Piece<'_>)) {
    if p.x.n_rows > SOME_ROWS {
        for depth in chunks(0..p.w.mat.n_in, DEPTH) {
            for outs in chunks(p.outs.clone(), OUTS) {
                for rows in chunks(outs.clone(), 8) {
                    let first = rows.start - outs.start;
                    let to = &mut *p.scratch.rows;
                    expand(Piece { w: p.w, rows, at: depth.start, n: depth.len(), to });
                    kernels.enter(Columns { scratch: &mut *p.scratch, first, depth: depth.len() });
                }
                multiply(kernels, &mut p, &depth, &outs);
            }
        }
        return;
    }
    for depth in chunks(0..p.w.mat.n_in, DEPTH) {
        for outs in chunks(p.outs.clone(), DOT_OUTS) {
            let mut rows: [&[u8]; DOT_OUTS] = [&[]; DOT_OUTS];
            if floats {
                for (row, o) in rows.iter_mut().zip(outs.clone()) {
                    *row = &p.w.row(o)[4 * depth.start..4 * depth.end];
                }
            } else {
                let to = bytemuck::cast_slice_mut(&mut p.scratch.panel);
                expand(Piece { w: p.w, rows: outs.clone(), at: depth.start, n: depth.len(), to });
                let panel: &[u8] = bytemuck::cast_slice(&p.scratch.panel);
                for (row, panel) in rows.iter_mut().zip(panel.chunks_exact(4 * STRIDE)) {
                    *row = &panel[..4 * depth.len()];
                }
            }
            kernels.enter(Dots {
                w: &rows[..outs.len()],
                x: p.x,
                depth: &depth,
                tile: &mut p.tile[outs.start - p.outs.start..],
                stride: p.outs.len(),
            });
        }
    }
}

/// Expands a piece of plain weights.
struct Expand<'a, S> {
    piece: Piece<'a>,
    source: PhantomData<S>,
}

impl<S: Source> Kernel for Expand<'_, S> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Piece { w, rows, at, n, to } = self.piece;
        for (to, r) in to.chunks_exact_mut(STRIDE).zip(rows) {
            S::expand(l, w.row(r), at, &mut to[..n]);
        }
    }
}

/// Turns eight expanded rows into columns `first..first + 8` of the panel.
struct Columns<'a> {
    scratch: &'a mut FloatScratch,
    first: usize,
    depth: usize,
}

impl Kernel for Columns<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let width = const { panel::width::<L>() };
        let FloatScratch { panel, rows } = self.scratch;
        let at = self.first / width * width * self.depth + self.first % width;
        let group = &mut bytemuck::cast_slice_mut(panel)[at..];
        panel::columns(l, rows, STRIDE, self.depth, group, width);
    }
}

/// Dot products of rows of F32 weights with all rows of activations, over the inputs `depth`.
struct Dots<'a> {
    w: &'a [&'a [u8]],
    x: Packed<'a>,
    depth: &'a Range<usize>,
    /// Rows of `stride` sums.
    tile: &'a mut [f32],
    stride: usize,
}

impl Kernel for Dots<'_> {
    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        let (fours, ones) = self.w.as_chunks::<4>();
        for rows in chunks(0..self.x.n_rows, CHUNK) {
            for (o, w) in fours.iter().enumerate() {
                self.tiles::<L, 4>(l, w, &rows, 4 * o);
            }
            for (o, w) in ones.iter().enumerate() {
                self.tiles::<L, 1>(l, &[w], &rows, 4 * fours.len() + o);
            }
        }
    }
}

impl Dots<'_> {
    /// The products of `R` rows of weights, while they are in the first-level cache, with rows of activations.
    #[inline(always)]
    fn tiles<L: Lanes, const R: usize>(&mut self, l: L, w: &[&[u8]; R], rows: &Range<usize>, o: usize) {
        let mut r = rows.start;
        while r < rows.end {
            r += match rows.end - r {
                1 => self.tile::<L, 1, R>(l, w, r, o),
                2 => self.tile::<L, 2, R>(l, w, r, o),
                _ => self.tile::<L, 3, R>(l, w, r, o),
            };
        }
    }

    /// `N` by `R` dot products, put at row `r` and output `o`. Returns `N`.
    #[inline(always)]
    fn tile<L: Lanes, const N: usize, const R: usize>(
        &mut self,
        l: L,
        w: &[&[u8]; R],
        r: usize,
        o: usize,
    ) -> usize {
        let whole = self.depth.len() / 16;
        let (mut weights, mut activations) = ([&[][..]; R], [(&[][..], &[][..]); N]);
        for (to, w) in weights.iter_mut().zip(w) {
            *to = &F32::chunks(w)[..whole];
        }
        for (i, to) in activations.iter_mut().enumerate() {
            // Rows of activations are padded with zeros to more than a chunk.
            *to = F32::chunks(&self.x.row(r + i)[4 * self.depth.start..]).split_at(whole);
        }
        let mut sums = [[l.gsplat(0.0); R]; N];
        for c in 0..whole {
            for v in 0..16 / L::LANES {
                // Three activations, one weight and twelve sums: the sixteen registers of AVX2.
                let mut x = [F32::load(l, &activations[0].0[c], v); N];
                for (x, (row, _)) in x.iter_mut().zip(&activations) {
                    *x = F32::load(l, &row[c], v);
                }
                for (j, row) in weights.iter().enumerate() {
                    let w = F32::load(l, &row[c], v);
                    for (sums, x) in sums.iter_mut().zip(x) {
                        sums[j] = l.gfma(w, x, sums[j]);
                    }
                }
            }
        }
        if whole * 16 < self.depth.len() {
            for (j, row) in w.iter().enumerate() {
                let last = F32::padded(&row[64 * whole..]);
                for v in 0..16 / L::LANES {
                    for (sums, (_, rest)) in sums.iter_mut().zip(&activations) {
                        sums[j] = l.gfma(F32::load(l, &last, v), F32::load(l, &rest[0], v), sums[j]);
                    }
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                let value = &mut self.tile[(r + i) * self.stride + o + j];
                let sum = l.gsum(*sum);
                *value = if self.depth.start > 0 { *value + sum } else { sum };
            }
        }
        N
    }
}
