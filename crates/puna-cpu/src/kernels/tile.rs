//! Products of block-quantised weights with many rows of 8-bit activations.
//!
//! Outputs run along the lanes. The weights of a slab, [`OUTS`] outputs by [`STEPS`] steps of 32 inputs, are unpacked
//! once to bytes that stay in the second-level cache; then, step by step, the bytes of a few lanes of outputs are held
//! in registers while all rows of activations pass by. So any number of rows is as good as any other, and what an
//! unpacked weight costs is divided by the number of rows.

use super::blocks::{Block, Shape, Step};
use super::lanes::{Kernel, Lanes};
use crate::matmul::{Kernels, MatRef, Packed};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::Range;

/// Outputs of a slab.
const OUTS: usize = 64;
/// Steps of a slab.
const STEPS: usize = 32;
/// Rows that pass while a slab stays unpacked.
const ROWS: usize = 512;
/// Rows whose activations stay in the second-level cache while all outputs of a slab use them.
const CHUNK: usize = 64;

/// 32 activations of a row.
#[derive(Clone, Copy)]
struct XStep {
    /// Four codes each; 128 is added to a code where the lanes want it so.
    codes: [u32; 8],
    /// Their scale.
    d: f32,
    /// The scale times the sum of the codes of each half.
    sums: [f32; 2],
}

/// Working memory of the kernel, about 1 MiB.
pub(crate) struct TileScratch {
    /// `[STEPS][ROWS]`.
    x: Vec<XStep>,
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
}

impl TileScratch {
    pub(crate) fn new() -> Result<Self, TryReserveError> {
        fn filled<T: Clone>(value: T, len: usize) -> Result<Vec<T>, TryReserveError> {
            let mut vec = Vec::new();
            vec.try_reserve_exact(len)?;
            vec.resize(len, value);
            Ok(vec)
        }
        Ok(Self {
            x: filled(XStep { codes: [0; 8], d: 0.0, sums: [0.0; 2] }, STEPS * ROWS)?,
            codes: filled(0, OUTS * STEPS * 8)?,
            scale: filled(0.0, OUTS * STEPS * 2)?,
            min: filled(0.0, OUTS * STEPS * 2)?,
            start: filled(0, OUTS * STEPS * 2)?,
            acc: filled(0.0, OUTS * ROWS)?,
        })
    }
}

/// Outputs that are computed together: as many lanes as the registers hold beside the accumulators.
const fn width<L: Lanes>() -> usize {
    if L::LANES == 8 { 8 } else { 2 * L::LANES }
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
    for rows in chunks(0..x.n_rows, ROWS) {
        for slab in chunks(0..x.n_in / 32, STEPS) {
            kernels.enter(Gather { x, rows: &rows, slab: &slab, limit: B::Shape::LIMIT, to: &mut scratch.x });
            for part in chunks(outs.clone(), OUTS) {
                kernels.enter(Unpack { w, outs: &part, slab: &slab, scratch, block: PhantomData::<B> });
                let at = Place {
                    rows: &rows,
                    n_outs: part.len(),
                    first: part.start - outs.start,
                    stride: outs.len(),
                    n_steps: slab.len(),
                    add: slab.start > 0,
                };
                kernels.enter(Multiply { at, scratch, tile, shape: PhantomData::<B::Shape> });
            }
        }
    }
}

/// Puts the activations of a step side by side.
struct Gather<'a> {
    x: Packed<'a>,
    rows: &'a Range<usize>,
    slab: &'a Range<usize>,
    limit: i32,
    to: &'a mut [XStep],
}

impl Kernel for Gather<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let bias = if L::biased(self.limit) { 0x8080_8080 } else { 0 };
        for (to, r) in self.rows.clone().enumerate() {
            let row = self.x.q8(r);
            for (i, s) in self.slab.clone().enumerate() {
                let x = &mut self.to[i * ROWS + to];
                for (words, codes) in x.codes.as_chunks_mut::<4>().0.iter_mut().zip(row.halves(s)) {
                    for (word, codes) in words.iter_mut().zip(codes.as_chunks().0) {
                        *word = u32::from_le_bytes(*codes) ^ bias;
                    }
                }
                let d = row.scale(s);
                let sums = row.sums(s);
                x.d = d;
                x.sums = [d * f32::from(sums[0]), d * f32::from(sums[1])];
            }
        }
    }
}

/// Unpacks a slab of weights, eight rows at a time. Beyond the last output, its weights are repeated: nothing reads
/// their sums.
struct Unpack<'a, B> {
    w: MatRef<'a>,
    outs: &'a Range<usize>,
    slab: &'a Range<usize>,
    scratch: &'a mut TileScratch,
    block: PhantomData<B>,
}

impl<B: Block> Kernel for Unpack<'_, B> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let width = const { width::<L>() };
        let Self { w, outs, slab, scratch, .. } = self;
        let blocks = slab.start / B::STEPS * B::BYTES..slab.end / B::STEPS * B::BYTES;
        let mut unpacked = [[Step::ZERO; 8]; 8];
        for first in (0..outs.len()).step_by(8) {
            let mut rows = [&[][..]; 8];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = &w.row(outs.start + (first + i).min(outs.len() - 1))[blocks.clone()];
            }
            let (group, lane) = (first / width * STEPS, first % width);
            for b in 0..slab.len() / B::STEPS {
                for (steps, row) in unpacked.iter_mut().zip(&rows) {
                    B::unpack(l, &row[b * B::BYTES..(b + 1) * B::BYTES], steps);
                }
                for s in 0..B::STEPS {
                    let at = group + b * B::STEPS + s;
                    let mut codes = [l.splat8(0); 8];
                    for (codes, steps) in codes.iter_mut().zip(&unpacked) {
                        *codes = l.load(bytemuck::cast_ref(&steps[s].codes));
                    }
                    let codes = transpose(l, codes);
                    for (j, codes) in codes.iter().enumerate() {
                        l.store(*codes, &mut scratch.codes[(8 * at + j) * width + lane..]);
                    }
                    if L::biased(B::Shape::LIMIT) {
                        let halves = codes.as_chunks::<4>().0;
                        let (mut low, high) = (bias(l, &halves[0]), bias(l, &halves[1]));
                        if B::Shape::HALVES {
                            l.store(high, &mut scratch.start[(2 * at + 1) * width + lane..]);
                        } else {
                            low = l.add32(low, high);
                        }
                        l.store(low, &mut scratch.start[2 * at * width + lane..]);
                    }
                    for half in 0..if B::Shape::HALVES { 2 } else { 1 } {
                        let lanes = (2 * at + half) * width + lane..(2 * at + half) * width + lane + 8;
                        for (to, steps) in scratch.scale[lanes.clone()].iter_mut().zip(&unpacked) {
                            *to = steps[s].scale[half];
                        }
                        if B::Shape::AFFINE {
                            for (to, steps) in scratch.min[lanes].iter_mut().zip(&unpacked) {
                                *to = steps[s].min[half];
                            }
                        }
                    }
                }
            }
        }
        if !L::biased(B::Shape::LIMIT) {
            scratch.start.fill(0);
        }
    }
}

/// Turns eight rows of eight 32-bit values into columns.
#[inline(always)]
fn transpose<L: Lanes>(l: L, rows: [L::V; 8]) -> [L::V; 8] {
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

/// -128 times the sum of 16 codes for each of eight outputs: what adding 128 to the activations must be corrected by.
#[inline(always)]
fn bias<L: Lanes>(l: L, codes: &[L::V; 4]) -> L::V {
    let ones = [l.splat8(1); 2];
    let sum = l.add32(l.dot2(ones, [codes[0], codes[1]]), l.dot2(ones, [codes[2], codes[3]]));
    l.shl32(l.sub32(l.splat8(0), sum), 7)
}

/// Which sums the unpacked slab adds to.
struct Place<'a> {
    rows: &'a Range<usize>,
    /// Outputs, and the first one's column in the tile of `stride` columns.
    n_outs: usize,
    first: usize,
    stride: usize,
    n_steps: usize,
    /// Whether the tile holds the sums of earlier slabs.
    add: bool,
}

impl Place<'_> {
    /// Where row `r` is in the tile.
    fn of_row(&self, r: usize) -> Range<usize> {
        let at = r * self.stride + self.first;
        at..at + self.n_outs
    }
}

/// Multiplies the gathered activations by the unpacked slab.
struct Multiply<'a, S> {
    at: Place<'a>,
    scratch: &'a mut TileScratch,
    tile: &'a mut [f32],
    shape: PhantomData<S>,
}

impl<S: Shape> Kernel for Multiply<'_, S> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { at, scratch, tile, .. } = self;
        let width = const { width::<L>() };
        if at.add {
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
                    let x = &scratch.x[s * ROWS + chunk.start..][..chunk.len()];
                    if L::LANES == 8 {
                        multiply_step::<L, S, 1>(l, &w, x, acc);
                    } else {
                        multiply_step::<L, S, 2>(l, &w, x, acc);
                    }
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

/// Adds the products of one step to the sums of all rows, `[rows][VECS * LANES]`.
#[inline(always)]
fn multiply_step<L: Lanes, S: Shape, const VECS: usize>(l: L, w: &Weights<'_>, x: &[XStep], acc: &mut [f32]) {
    let width = VECS * L::LANES;
    let (mut codes, mut start) = ([[[l.tzero(); 4]; 2]; VECS], [[l.tzero(); 2]; VECS]);
    let (mut scale, mut min) = ([[l.gsplat(0.0); 2]; VECS], [[l.gsplat(0.0); 2]; VECS]);
    for v in 0..VECS {
        for half in 0..2 {
            for (j, codes) in codes[v][half].iter_mut().enumerate() {
                *codes = l.tload(&w.codes[(4 * half + j) * width + v * L::LANES..]);
            }
            if S::HALVES || half == 0 {
                start[v][half] = l.tload(&w.start[half * width + v * L::LANES..]);
                scale[v][half] = l.gload(&w.scale[half * width + v * L::LANES..]);
                min[v][half] = l.gload(&w.min[half * width + v * L::LANES..]);
            }
        }
    }
    for (x, acc) in x.iter().zip(acc.chunks_exact_mut(width)) {
        let d = l.gsplat(x.d);
        let [x0, x1] = bytemuck::cast_ref::<[u32; 8], [[u32; 4]; 2]>(&x.codes);
        for v in 0..VECS {
            let acc = &mut acc[v * L::LANES..(v + 1) * L::LANES];
            let dot = l.tdot16(S::LIMIT, start[v][0], &codes[v][0], x0);
            let mut sum = l.gload(acc);
            let product = if S::HALVES {
                let other = l.tdot16(S::LIMIT, start[v][1], &codes[v][1], x1);
                l.gfma(l.to_g(other), scale[v][1], l.gmul(l.to_g(dot), scale[v][0]))
            } else {
                l.gmul(l.to_g(l.tdot16(S::LIMIT, dot, &codes[v][1], x1)), scale[v][0])
            };
            if S::AFFINE {
                // Where the halves share their minimum, so they do here: a sum of both saves a product.
                if S::HALVES {
                    sum = l.gfnma(min[v][1], l.gsplat(x.sums[1]), sum);
                    sum = l.gfnma(min[v][0], l.gsplat(x.sums[0]), sum);
                } else {
                    sum = l.gfnma(min[v][0], l.gsplat(x.sums[0] + x.sums[1]), sum);
                }
            }
            l.gstore(l.gfma(product, d, sum), acc);
        }
    }
}

/// Consecutive ranges of `len`, the last one shorter.
fn chunks(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(len).map(move |start| start..end.min(start + len))
}
