//! Products of block-quantised weights with many rows of 8-bit activations, for AVX2 and codes of up to seven bits: those
//! whose sums of four products overflow the 16 bits that [`narrow`](super::narrow) keeps them in.
//!
//! Outputs run along the lanes. The weights of a slab, [`OUTS`] outputs by [`STEPS`] steps of 32 inputs, are unpacked
//! once to bytes that stay in the second-level cache; then, step by step, the bytes of a few lanes of outputs are held
//! in registers while all rows of activations pass by. So any number of rows is as good as any other, and what an
//! unpacked weight costs is divided by the number of rows.

use super::blocks::{Block, Shape, Step};
use super::lanes::{self, Kernel, Lanes};
use super::slab::{Keep, Unpack, chunks, filled, minimum};
use crate::matmul::{Kernels, MatRef, Packed, STEP};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::Range;

/// Outputs of a slab.
const OUTS: usize = 64;
/// Steps of a slab.
const STEPS: usize = 32;
/// Most rows that pass while a slab stays unpacked.
const ROWS: usize = 1024;
/// Rows whose activations stay in the second-level cache while all outputs of a slab use them.
const CHUNK: usize = 32;

/// No code that these kernels multiply is larger, or sums of two products would overflow with AVX2.
pub(crate) const LARGEST: i32 = 64;

/// Working memory of the kernel, 370 KiB.
pub(crate) struct TileScratch {
    /// `[OUTS / width][STEPS][8][width]`, four codes each.
    codes: Vec<u32>,
    /// `[OUTS / width][STEPS][2][width]`.
    scale: Vec<f32>,
    /// As `scale`.
    min: Vec<f32>,
    /// As `scale`: what the added 128 must be corrected by.
    start: Vec<u32>,
    /// `[OUTS / width][ROWS][width]`.
    acc: Vec<f32>,
    /// Which rows of a chunk have residuals: for each step of the slab, from `ends[s - 1]` to `ends[s]`, a row and
    /// the place of its residual among that row's bytes.
    residuals: Vec<[u32; 2]>,
    ends: [u16; STEPS],
}

impl TileScratch {
    pub(crate) fn new() -> Result<Self, TryReserveError> {
        Ok(Self {
            codes: filled(0, OUTS * STEPS * 8)?,
            scale: filled(0.0, OUTS * STEPS * 2)?,
            min: filled(0.0, OUTS * STEPS * 2)?,
            start: filled(0, OUTS * STEPS * 2)?,
            acc: filled(0.0, OUTS * ROWS)?,
            residuals: filled([0; 2], CHUNK * STEPS)?,
            ends: [0; STEPS],
        })
    }
}

/// Outputs that are computed together: with sixteen registers, a vector of them.
const fn width<L: Lanes>() -> usize {
    L::LANES
}

/// The product, written to `tile` without the row scales.
pub(crate) fn product<B: Block>(
    kernels: &Kernels,
    w: MatRef<'_>,
    x: Packed<'_>,
    outs: Range<usize>,
    scratch: &mut TileScratch,
    tile: &mut [f32],
) {
    let rows_at_once = x.n_rows.div_ceil(x.n_rows.div_ceil(ROWS));
    for rows in chunks(0..x.n_rows, rows_at_once) {
        for slab in chunks(0..x.n_in / 32, STEPS) {
            for part in chunks(outs.clone(), OUTS) {
                let keep = Columns { scratch: &mut *scratch, shape: PhantomData::<B::Shape> };
                kernels.enter_avx2(Unpack::<B, _>::new(w, &part, &slab, keep));
                let at = Place {
                    rows: &rows,
                    n_outs: part.len(),
                    first: part.start - outs.start,
                    stride: outs.len(),
                    first_step: slab.start,
                    n_steps: slab.len(),
                };
                kernels.enter_avx2(Multiply { at, x, scratch, tile, shape: PhantomData::<B::Shape> });
            }
        }
    }
}

/// Keeps bytes as columns, and what belongs to them.
struct Columns<'a, S> {
    scratch: &'a mut TileScratch,
    shape: PhantomData<S>,
}

impl<S: Shape> Keep for Columns<'_, S> {
    #[inline(always)]
    fn keep<L: lanes::Columns>(&mut self, l: L, at: usize, first: usize, step: Step<L>) {
        let width = const { width::<L>() };
        let scratch = &mut *self.scratch;
        let (at, lane) = (first / width * STEPS + at, first % width);
        for (j, codes) in step.codes.iter().enumerate() {
            l.tstore_codes(*codes, &mut scratch.codes[(8 * at + j) * width + lane..]);
        }
        let parts = if S::HALVES { 2 } else { 1 };
        for (half, codes) in step.codes.chunks_exact(8 / parts).enumerate() {
            let at = (2 * at + half) * width + lane;
            // What the 128 that is added to activations must be corrected by, in 32 bits.
            let mut start = l.tzero();
            for codes in codes {
                for pairs in l.twiden_bytes(*codes) {
                    start = l.tmul16_pairs(start, pairs, 0xFF80_FF80);
                }
            }
            l.tstore(start, &mut scratch.start[at..]);
            l.gstore(step.scale[half], &mut scratch.scale[at..]);
            if S::AFFINE {
                l.gstore(minimum::<S, L>(l, &step.min, half), &mut scratch.min[at..]);
            }
        }
    }
}

/// Which sums the unpacked slab adds to.
struct Place<'a> {
    rows: &'a Range<usize>,
    /// Outputs, and the first one's column in the tile of `stride` columns.
    n_outs: usize,
    first: usize,
    stride: usize,
    /// The slab's place in the row; the tile holds the sums of earlier slabs.
    first_step: usize,
    n_steps: usize,
}

impl Place<'_> {
    /// Where row `r` is in the tile.
    fn of_row(&self, r: usize) -> Range<usize> {
        let at = r * self.stride + self.first;
        at..at + self.n_outs
    }
}

/// Multiplies the activations by the unpacked slab.
struct Multiply<'a, S> {
    at: Place<'a>,
    x: Packed<'a>,
    scratch: &'a mut TileScratch,
    tile: &'a mut [f32],
    shape: PhantomData<S>,
}

impl<S: Shape> Kernel for Multiply<'_, S> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { at, x, scratch, tile, .. } = self;
        let width = const { width::<L>() };
        if at.first_step > 0 {
            for (to, r) in at.rows.clone().enumerate() {
                for (group, tile) in tile[at.of_row(r)].chunks(width).enumerate() {
                    scratch.acc[(group * ROWS + to) * width..][..tile.len()].copy_from_slice(tile);
                }
            }
        } else {
            for group in 0..at.n_outs.div_ceil(width) {
                scratch.acc[group * ROWS * width..][..at.rows.len() * width].fill(0.0);
            }
        }
        for chunk in chunks(0..at.rows.len(), CHUNK) {
            let rows = at.rows.start + chunk.start..at.rows.start + chunk.end;
            let slab = at.first_step..at.first_step + at.n_steps;
            list(&x, &rows, &slab, &mut scratch.residuals, &mut scratch.ends);
            for group in 0..at.n_outs.div_ceil(width) {
                let acc = &mut scratch.acc[(group * ROWS + chunk.start) * width..][..chunk.len() * width];
                for s in 0..at.n_steps {
                    let step = group * STEPS + s;
                    let w = Weights {
                        codes: &scratch.codes[step * 8 * width..][..8 * width],
                        scale: &scratch.scale[step * 2 * width..][..2 * width],
                        min: &scratch.min[step * 2 * width..][..2 * width],
                        start: &scratch.start[step * 2 * width..][..2 * width],
                    };
                    let first = if s == 0 { 0 } else { scratch.ends[s - 1] };
                    let x = Activations {
                        bytes: x.bytes,
                        stride: x.row_bytes(),
                        rows: rows.clone(),
                        step: at.first_step + s,
                        residuals: &scratch.residuals[usize::from(first)..usize::from(scratch.ends[s])],
                    };
                    multiply_step::<L, S>(l, &w, &x, acc);
                }
            }
        }
        for (from, r) in at.rows.clone().enumerate() {
            for (group, tile) in tile[at.of_row(r)].chunks_mut(width).enumerate() {
                let acc = &scratch.acc[(group * ROWS + from) * width..];
                tile.copy_from_slice(&acc[..tile.len()]);
            }
        }
    }
}

/// One step of the weights of `width` outputs.
struct Weights<'a> {
    codes: &'a [u32],
    scale: &'a [f32],
    min: &'a [f32],
    start: &'a [u32],
}

/// Lists the residuals of `rows` within `slab`, by step.
fn list(
    x: &Packed<'_>,
    rows: &Range<usize>,
    slab: &Range<usize>,
    to: &mut [[u32; 2]],
    ends: &mut [u16; STEPS],
) {
    // A counting sort. Of most rows there is nothing to count.
    ends.fill(0);
    let within = |r: usize| {
        let residual = x.step_residual(x.row(r));
        let steps = residual.places.iter().map(|place| usize::from(u16::from_ne_bytes(*place)));
        let first = residual.at;
        steps
            .enumerate()
            .map(move |(i, step)| (step, first + i * STEP))
            .filter(|(step, _)| slab.contains(step))
    };
    for (step, _) in rows.clone().flat_map(within) {
        ends[step - slab.start] += 1;
    }
    let mut end = 0;
    for n in ends.iter_mut() {
        // Where the step's residuals begin, until they are put there.
        (*n, end) = (end, end + *n);
    }
    if end == 0 {
        return;
    }
    for r in rows.clone() {
        for (step, at) in within(r) {
            let next = &mut ends[step - slab.start];
            to[usize::from(*next)] = [(r - rows.start) as u32, at as u32];
            *next += 1;
        }
    }
}

/// What a step of weights is multiplied with.
struct Activations<'a> {
    bytes: &'a [u8],
    stride: usize,
    rows: Range<usize>,
    step: usize,
    /// Rows, counted from the first of `rows`, and where in each the residual is.
    residuals: &'a [[u32; 2]],
}

/// Adds the products of a step to the sums of the rows, `[rows][LANES]`.
#[inline(always)]
fn multiply_step<L: Lanes, S: Shape>(l: L, w: &Weights<'_>, x: &Activations<'_>, acc: &mut [f32]) {
    let width = const { width::<L>() };
    let (mut codes, mut start) = ([[l.tzero(); 4]; 2], [l.tzero(); 2]);
    let (mut scale, mut min) = ([l.gsplat(0.0); 2], [l.gsplat(0.0); 2]);
    for half in 0..2 {
        for (j, codes) in codes[half].iter_mut().enumerate() {
            *codes = l.tload(&w.codes[(4 * half + j) * width..]);
        }
        if S::HALVES || half == 0 {
            start[half] = l.tload(&w.start[half * width..]);
            scale[half] = l.gload(&w.scale[half * width..]);
            min[half] = l.gload(&w.min[half * width..]);
        }
    }
    let regs = Registers { codes, start, scale, min };
    let rows = &x.bytes[x.rows.start * x.stride..];
    let dense = rows[x.step * STEP..].chunks(x.stride);
    for (x, acc) in dense.zip(acc.chunks_exact_mut(width)).take(x.rows.len()) {
        add_product::<L, S>(l, &regs, x, acc);
    }
    for [r, at] in x.residuals.iter().map(|residual| residual.map(|n| n as usize)) {
        let acc = &mut acc[r * width..(r + 1) * width];
        add_product::<L, S>(l, &regs, &rows[r * x.stride + at..], acc);
    }
}

/// A step of the weights of some outputs.
struct Registers<L: Lanes> {
    codes: [[L::T; 4]; 2],
    start: [L::T; 2],
    scale: [L::G; 2],
    min: [L::G; 2],
}

/// Adds the product with the step of activations that `x` begins with.
#[inline(always)]
fn add_product<L: Lanes, S: Shape>(l: L, w: &Registers<L>, x: &[u8], acc: &mut [f32]) {
    let words = x[..STEP].as_chunks::<4>().0;
    let word = |i: usize| u32::from_ne_bytes(words[i]);
    let [d, low, all] = [8, 9, 10].map(|i| f32::from_bits(word(i)));
    let (x0, x1) = ([0, 1, 2, 3].map(word), [4, 5, 6, 7].map(word));
    let dot = l.tdot16(S::LIMIT, w.start[0], &w.codes[0], &x0);
    let mut sum = l.gload(acc);
    let product = if S::HALVES {
        let other = l.tdot16(S::LIMIT, w.start[1], &w.codes[1], &x1);
        l.gfma(l.to_g(other), w.scale[1], l.gmul(l.to_g(dot), w.scale[0]))
    } else {
        l.gmul(l.to_g(l.tdot16(S::LIMIT, dot, &w.codes[1], &x1)), w.scale[0])
    };
    if S::AFFINE {
        if S::HALVES {
            sum = l.gfnma(w.min[1], l.gsplat(all), sum);
            sum = l.gfnma(w.min[0], l.gsplat(low), sum);
        } else {
            sum = l.gfnma(w.min[0], l.gsplat(all), sum);
        }
    }
    l.gstore(l.gfma(product, l.gsplat(d), sum), acc);
}
