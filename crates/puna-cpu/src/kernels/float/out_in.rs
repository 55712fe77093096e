//! `[n_out, n_in]` weights. Very few rows: weights as they stream by. Some: dot products along the inputs, three rows of
//! activations by four of weights at a time. Many: panels whose columns the weights become.

use super::source::{F32, Source};
use super::stream::Stream;
use super::{DEPTH, FloatScratch, OUTS, Product, chunks, multiply, pairs};
use crate::kernels::lanes::{Kernel, Lanes};
use crate::kernels::panel;
use crate::matmul::{Form, Kernels, MatRef, Packed};
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
    if p.x.n_rows <= FEW_ROWS && p.x.form == Form::F32 {
        return kernels.enter(Stream { product: p, source: PhantomData::<S> });
    }
    let direct = S::SIZE == 4 || p.x.form == Form::Bf16;
    rows_or_columns(kernels, p, direct.then_some(S::SIZE), |p: Piece<'_>| {
        kernels.enter(Expand { piece: p, source: PhantomData::<S> });
    });
}

/// The product with a block format: weights are expanded by the reference, which is slow and exact. Who asks for F32
/// activations asks for that.
pub(super) fn blocks(kernels: &Kernels, p: Product<'_>) {
    rows_or_columns(kernels, p, None, |p: Piece<'_>| {
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

/// `direct` is the size of a value if weights are multiplied as they are, unless they become columns.
fn rows_or_columns(kernels: &Kernels, mut p: Product<'_>, direct: Option<usize>, expand: impl Fn(Piece<'_>)) {
    if p.x.form == Form::F32 && p.x.n_rows > SOME_ROWS {
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
            if let Some(size) = direct {
                for (row, o) in rows.iter_mut().zip(outs.clone()) {
                    *row = &p.w.row(o)[depth.start * size..depth.end * size];
                }
            } else {
                let to = &mut *p.scratch.panel;
                expand(Piece { w: p.w, rows: outs.clone(), at: depth.start, n: depth.len(), to });
                for (row, panel) in rows.iter_mut().zip(p.scratch.panel.chunks_exact(STRIDE)) {
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
            if x.form == Form::Bf16 {
                pairs::dots(kernels, Dots { w, x, at, n, to });
            } else {
                kernels.enter(Dots { w, x, at, n, to });
            }
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
        let group = &mut panel[self.first / width * width * self.depth + self.first % width..];
        panel::columns(l, rows, STRIDE, self.depth, bytemuck::cast_slice_mut(group), width);
    }
}

/// The arithmetic of dot products over chunks of weights and activations.
pub(super) trait Unit: Copy {
    /// The bytes of a chunk of weights.
    type Weights: AsRef<[u8]>;
    /// The bytes of as many activations.
    type Activations: AsRef<[u8]>;
    type Vector: Copy;
    type Sum: Copy;
    /// Values of a chunk, and the vectors that it takes.
    const VALUES: usize;
    const VECTORS: usize;

    /// Whole chunks of a row of weights.
    fn weights(row: &[u8]) -> &[Self::Weights];
    /// The last, shorter chunk of a row of weights, with zeros.
    fn last(rest: &[u8]) -> Self::Weights;
    /// Whole chunks of a row of activations.
    fn activations(row: &[u8]) -> &[Self::Activations];
    /// Vector `i` of a chunk.
    fn load_weights(self, chunk: &Self::Weights, i: usize) -> Self::Vector;
    fn load_activations(self, chunk: &Self::Activations, i: usize) -> Self::Vector;
    fn zero(self) -> Self::Sum;
    fn multiply_add(self, w: Self::Vector, x: Self::Vector, sum: Self::Sum) -> Self::Sum;
    fn sum(self, sum: Self::Sum) -> f32;
}

/// Products of floats.
#[derive(Clone, Copy)]
struct Floats<L>(L);

impl<L: Lanes> Unit for Floats<L> {
    type Weights = [u8; 64];
    type Activations = [u8; 64];
    type Vector = L::G;
    type Sum = L::G;
    const VALUES: usize = 16;
    const VECTORS: usize = 16 / L::LANES;

    #[inline(always)]
    fn weights(row: &[u8]) -> &[[u8; 64]] {
        F32::chunks(row)
    }
    #[inline(always)]
    fn last(rest: &[u8]) -> [u8; 64] {
        F32::padded(rest)
    }
    #[inline(always)]
    fn activations(row: &[u8]) -> &[[u8; 64]] {
        row.as_chunks().0
    }
    #[inline(always)]
    fn load_weights(self, chunk: &[u8; 64], i: usize) -> L::G {
        F32::load(self.0, chunk, i)
    }
    #[inline(always)]
    fn load_activations(self, chunk: &[u8; 64], i: usize) -> L::G {
        self.0.gload_f32(&chunk[4 * L::LANES * i..])
    }
    #[inline(always)]
    fn zero(self) -> L::G {
        self.0.gsplat(0.0)
    }
    #[inline(always)]
    fn multiply_add(self, w: L::G, x: L::G, sum: L::G) -> L::G {
        self.0.gfma(w, x, sum)
    }
    #[inline(always)]
    fn sum(self, sum: L::G) -> f32 {
        self.0.gsum(sum)
    }
}

/// Dot products of rows of `n` weights with all rows of activations, from input `at` on.
pub(super) struct Dots<'a> {
    w: &'a [&'a [u8]],
    x: Packed<'a>,
    at: usize,
    n: usize,
    to: Sums<'a>,
}

/// Where sums go: `tile[r * stride + first + o]`.
struct Sums<'a> {
    tile: &'a mut [f32],
    stride: usize,
    first: usize,
    add: bool,
}

impl Kernel for Dots<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        self.run_on(Floats(l));
    }
}

impl Dots<'_> {
    #[inline(always)]
    pub(super) fn run_on<U: Unit>(mut self, u: U) {
        let (fours, ones) = self.w.as_chunks::<4>();
        for rows in chunks(0..self.x.n_rows, CHUNK) {
            for (o, w) in fours.iter().enumerate() {
                self.tiles::<U, 4>(u, w, &rows, 4 * o);
            }
            for (o, w) in ones.iter().enumerate() {
                self.tiles::<U, 1>(u, &[w], &rows, 4 * fours.len() + o);
            }
        }
    }

    /// The products of `R` rows of weights, while they are in the first-level cache, with rows of activations.
    #[inline(always)]
    fn tiles<U: Unit, const R: usize>(&mut self, u: U, w: &[&[u8]; R], rows: &Range<usize>, o: usize) {
        let mut r = rows.start;
        while r < rows.end {
            r += match rows.end - r {
                1 => self.tile::<U, 1, R>(u, w, r, o),
                2 => self.tile::<U, 2, R>(u, w, r, o),
                _ => self.tile::<U, 3, R>(u, w, r, o),
            };
        }
    }

    /// `N` by `R` dot products, put at row `r` and output `o`. Returns `N`.
    #[inline(always)]
    fn tile<U: Unit, const N: usize, const R: usize>(
        &mut self,
        u: U,
        w: &[&[u8]; R],
        r: usize,
        o: usize,
    ) -> usize {
        let whole = self.n / U::VALUES;
        let (mut weights, mut activations) = ([&[][..]; R], [(&[][..], &[][..]); N]);
        for (to, w) in weights.iter_mut().zip(w) {
            *to = &U::weights(w)[..whole];
        }
        for (i, to) in activations.iter_mut().enumerate() {
            // Rows of activations are padded with zeros to more than a chunk.
            *to = U::activations(&self.x.row(r + i)[self.at * self.x.form.value_bytes()..]).split_at(whole);
        }
        let mut sums = [[u.zero(); R]; N];
        for c in 0..whole {
            for v in 0..U::VECTORS {
                // Three activations, one weight and twelve sums: the sixteen registers of AVX2.
                let mut x = [u.load_activations(&activations[0].0[c], v); N];
                for (x, (row, _)) in x.iter_mut().zip(&activations) {
                    *x = u.load_activations(&row[c], v);
                }
                for (j, row) in weights.iter().enumerate() {
                    let w = u.load_weights(&row[c], v);
                    for (sums, x) in sums.iter_mut().zip(x) {
                        sums[j] = u.multiply_add(w, x, sums[j]);
                    }
                }
            }
        }
        if whole * U::VALUES < self.n {
            for (j, row) in w.iter().enumerate() {
                let last = U::last(&row[row.len() / self.n * whole * U::VALUES..]);
                for v in 0..U::VECTORS {
                    for (sums, (_, rest)) in sums.iter_mut().zip(&activations) {
                        let (w, x) = (u.load_weights(&last, v), u.load_activations(&rest[0], v));
                        sums[j] = u.multiply_add(w, x, sums[j]);
                    }
                }
            }
        }
        let to = &mut self.to;
        for (i, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                let value = &mut to.tile[(r + i) * to.stride + to.first + o + j];
                let sum = u.sum(*sum);
                *value = if to.add { *value + sum } else { sum };
            }
        }
        N
    }
}
