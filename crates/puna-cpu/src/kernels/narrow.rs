//! Products of block-quantised weights with many rows of 8-bit activations: with AVX2 of weights of up to six bits, with all
//! other instruction sets, whose products of bytes are summed to 32 bits, of all.
//!
//! AVX2 sums products of bytes to 16 bits: with codes up to ±16, the 32 products of a step fit in two 16-bit sums, with
//! codes up to ±32 those of half a step. So a word of four inputs costs a multiplication and an addition, and sums are
//! widened once a step.
//!
//! Outputs run along the lanes, two vectors at a time. The weights of a slab, [`OUTS`] outputs by [`STEPS`] steps of 32
//! inputs, are unpacked once; those of a group of outputs stay in the first-level cache, with the activations of a block of
//! rows. Six rows by two vectors are twelve sums, two weights, one word of activations and one product: the sixteen
//! registers of AVX2. AVX-512 has thirty-two, and keeps the totals of the slab in the others.
//!
//! Activations are unsigned, 128 more than they are. Sums wrap, and so they may begin with -128 times the sum of their
//! codes: what comes out is the sum with signed activations, of 16 bits at most 16 x 16 x 127 or 8 x 32 x 127. AArch64
//! multiplies signed bytes, and takes the 128 off as it reads activations.
//!
//! One thread of a Zen 3 beside a busy sibling, `roofline` of builds with these formats and Q8_0 alone, medians of five runs
//! before and four now, in turns, GOP/s of the 185 of its bytes; single runs differ by up to 1.7 times.
//! Before, eight outputs stayed in registers while rows passed, sums were widened after four words or two, and weights were
//! unpacked byte by byte:
//!
//! | | 32 rows before | now | 512 rows before | now |
//! |---|---|---|---|---|
//! | Q4_0 | 104 | 150 | 107 | 156 |
//! | Q4_K | 62 | 102 | 76 | 149 |
//! | Q6_K | 61 | 61 | 77 | 87 |
//!
//! On a busier day nine runs of the whole build have medians of 105, 91 and 61 with 32 rows, 112, 107 and 84 with 512, and
//! up to 168 for Q4_0.
//!
//! Since then packed words become columns before codes are taken out of them, and eight rows' scales are unpacked at once.
//! 256 outputs that stay in cache, 4, 8, 16 and 32 rows, builds in turns, the best of two to seven quarters of a second:
//!
//! | | before | now |
//! |---|---|---|
//! | Q4_0 | 82, 114, 142, 165 | 88, 118, 146, 161 |
//! | Q4_1 | 73, 102, 128, 148 | 80, 109, 136, 154 |
//! | Q2_K | 57, 83, 81, 115 | 69, 91, 112, 124 |
//! | Q3_K | 30, 51, 78, 102 | 68, 94, 118, 135 |
//! | Q4_K | 63, 90, 120, 142 | 85, 113, 138, 156 |
//! | Q5_K | 55, 81, 112, 132 | 74, 102, 131, 150 (another hour) |
//! | Q6_K | 54, 82, 109, 130 | 60, 86, 116, 135 |
//! | IQ4_XS ([`wide`](super::wide)) | 32, 48, 70, 87 | 59, 78, 92, 103 |
//!
//! Q8_0 and IQ4_NL are as they were. Formats that came to it later, 5, 8, 16 and 32 rows, `roofline --rows`, the better of two
//! runs: Q5_0 84, 104, 133, 154 and 90, 110, 141, 164; Q5_1 77, 93, 124, 148 and 90, 104, 131, 148; MXFP4 92, 114, 143, 168 and
//! 103, 120, 147, 165; TQ2_0 106, 126, 113, 130 and 118, 138, 158, 177. Rows of TQ1_0 and of codebooks, which are unpacked one
//! by one and then become columns as all others do, lost a little by that when rows are few: TQ1_0 80, 99, 133, 157 and 68, 87,
//! 121, 153; IQ1_S 59, 76, 111, 140 and 53, 72, 102, 134; the other codebooks less than that, IQ2_XS nothing.
//!
//! Up to 48 rows, whose activations stay in cache while outputs pass, a slab has 16 outputs and stays in the first-level cache
//! until it is multiplied; and codes are added up in bytes before the 128 of activations is taken off. 5, 8, 16 and 32 rows,
//! builds in turns, the best of three: Q4_0 107, 127, 160, 178 and 117, 133, 164, 180; Q4_K 107, 123, 152, 167 and 115, 128, 152,
//! 167; Q5_0 98, 116, 148, 171 and 103, 118, 152, 171; Q3_K 85, 101, 127, 144 and 87, 105, 129, 144; Q6_K the same.
//!
//! Halves of a step that have scales of their own (Q2_K, Q3_K, Q6_K) could be widened by a multiplication with these as
//! integers, and become one sum before it is a float: six instructions in place of eight for each two sums. It gains nothing,
//! for the sums of the first half then wait in memory: 32 rows of Q3_K 137 and 129 GOP/s, of Q6_K 134 and 125, of Q2_K 122 and
//! 124, the best of three runs before and with it.
//!
//! Before, each multiplication took an activation of its own from the cache. Now additions bound the loop: in a loop by
//! itself, twelve multiplications, twelve additions and their eight loads take 7.5 cycles where four units could do them
//! in six, whatever their order (9 beside a busy sibling). Two words at a time, which gains in [`wide`](super::wide), loses: Q4_0, 512 rows, 112 and 118 GOP/s
//! in place of 149 and 153. Slabs of 8, 16 and 32 steps did the same in one noisy run.
//!
//! With AVX-512 a step of 32 inputs is eight products of bytes to a vector, and two of floats on the same two units: at most
//! 80 % of the products of bytes that a thread can do. One thread of a Zen 5 that does 1149 G of them a second, in a loop by
//! itself, the best of 15 runs: 78 % with six rows; 73, 75, 74 and 66 % with four, seven, eight and twelve; 65 % if scales
//! are multiplied with each other first and not with the sum; 94 % without scales.
//! `roofline`, 32 rows and 512 of Q4_0, GOP/s, medians of three: 471 and 623 with the bytes of a few outputs held in registers
//! while rows pass, as [`tile`](super::tile) does; 530 and 646 so; 605 and 727 with weights made columns while they are packed
//! and totals moved as vectors; 652 and 793 with weights and totals on cache lines of their own.
//! Scout's weights come from memory: asked for with every step, as now, 545 tokens/s in prefill of 512; while the slab before
//! is unpacked, 531.

use super::blocks::{Block, Shape, Step};
use super::lanes::{self, Kernel, Lanes};
use super::panel::{self, Blocks, load, store};
use super::slab::{Ahead, Keep, Unpack, chunks, filled, minimum};
use crate::buffers::Line;
use crate::matmul::{Kernels, MatRef, Packed, STEP};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::hint::black_box;
use core::marker::PhantomData;
use core::ops::Range;

/// Outputs of a slab.
const OUTS: usize = 64;
/// Those of a slab for as many rows as pass all groups of outputs at a time, or fewer.
const FEW_OUTS: usize = 16;
/// Steps of a slab.
const STEPS: usize = 24;
/// Cache lines of weights that are asked for with every step of a few rows: all of a slab before a dozen rows have passed.
const AHEAD_LINES: usize = 4;
/// Words of a step.
const WORDS: usize = 8;

/// No code that this kernel multiplies with AVX2 is larger.
pub(crate) const LARGEST: i32 = 32;

/// Working memory of the kernel, 80 KiB.
pub(crate) struct NarrowScratch {
    /// `[OUTS / width][STEPS]` of what [`Part`] describes.
    panel: Vec<Line>,
}

impl NarrowScratch {
    pub(crate) fn new() -> Result<Self, TryReserveError> {
        // Codes; for two halves, where sums start, scales and minima.
        Ok(Self { panel: filled(Line::default(), OUTS * STEPS * (WORDS + 2 * 3) / 16)? })
    }
}

/// What of a step has a scale of its own: the step, or one of its halves. It is kept as `[words][width]` codes,
/// `[width]` starts of sums, `[width]` scales and, where there are any, `[width]` minima.
struct Part<S>(PhantomData<S>);

impl<S: Shape> Part<S> {
    const IN_STEP: usize = if S::HALVES { 2 } else { 1 };
    const WORDS: usize = WORDS / Self::IN_STEP;
    /// Rows of `width` words.
    const LEN: usize = Self::WORDS + if S::AFFINE { 3 } else { 2 };
}

/// The product, written to `tile` without the row scales; with AVX2 only for codes up to [`LARGEST`].
pub(crate) fn product<B: Block>(
    kernels: &Kernels,
    w: MatRef<'_>,
    x: Packed<'_>,
    outs: Range<usize>,
    scratch: &mut NarrowScratch,
    tile: &mut [f32],
) {
    let n_steps = x.n_in / 32;
    let n_outs = if x.n_rows <= panel::ROWS { FEW_OUTS } else { OUTS };
    for slab in chunks(0..n_steps, STEPS) {
        for part in chunks(outs.clone(), n_outs) {
            let bytes = |step| step / B::STEPS * B::BYTES;
            let ahead = Ahead::after(w, (&outs, &part), (&slab, n_steps), (n_outs, STEPS), bytes);
            let keep = Columns {
                panel: bytemuck::cast_slice_mut(&mut scratch.panel),
                shape: PhantomData::<B::Shape>,
            };
            kernels.enter(Unpack::<B, _>::new(w, &part, &slab, keep));
            kernels.enter(Multiply {
                x,
                row_bytes: x.row_bytes(),
                slab: &slab,
                panel: bytemuck::cast_slice(&scratch.panel),
                tile: &mut tile[part.start - outs.start..],
                stride: outs.len(),
                n_out: part.len(),
                ahead,
                shape: PhantomData::<B::Shape>,
            });
        }
    }
}

/// Keeps bytes as columns, and what belongs to them.
struct Columns<'a, S> {
    panel: &'a mut [u32],
    shape: PhantomData<S>,
}

impl<S: Shape> Keep for Columns<'_, S> {
    #[inline(always)]
    fn keep<L: lanes::Columns>(&mut self, l: L, at: usize, first: usize, step: Step<L>) {
        let width = const { panel::width::<L>() };
        let (at, lane) = (first / width * STEPS + at, first % width);
        let to = &mut self.panel[at * Part::<S>::IN_STEP * Part::<S>::LEN * width..];
        let to = &mut to[..Part::<S>::IN_STEP * Part::<S>::LEN * width];
        let parts = to.chunks_exact_mut(Part::<S>::LEN * width);
        for (half, (part, codes)) in parts.zip(step.codes.chunks_exact(Part::<S>::WORDS)).enumerate() {
            for (j, codes) in codes.iter().enumerate() {
                l.tstore_codes(*codes, &mut part[j * width + lane..]);
            }
            let rest = &mut part[Part::<S>::WORDS * width + lane..];
            l.tstore(l.tstart(S::LIMIT, codes), rest);
            l.gstore(step.scale[half], bytemuck::cast_slice_mut(&mut rest[width..]));
            if S::AFFINE {
                l.gstore(
                    minimum::<S, L>(l, &step.min, half),
                    bytemuck::cast_slice_mut(&mut rest[2 * width..]),
                );
            }
        }
    }
}

/// Multiplies the activations by the unpacked slab.
struct Multiply<'a, S> {
    x: Packed<'a>,
    /// Bytes of a row of them.
    row_bytes: usize,
    slab: &'a Range<usize>,
    panel: &'a [u32],
    /// Rows of `stride` values, of which `n_out` are computed. They hold the sums of earlier slabs.
    tile: &'a mut [f32],
    stride: usize,
    n_out: usize,
    ahead: Ahead<'a>,
    shape: PhantomData<S>,
}

impl<S: Shape> Kernel for Multiply<'_, S> {
    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        for rows in chunks(0..self.x.n_rows, panel::ROWS) {
            self.pass(l, rows.clone(), self.n_out);
            rows.for_each(|r| self.residual(l, r));
        }
    }
}

impl<S: Shape> Blocks for Multiply<'_, S> {
    #[inline(always)]
    fn block<L: Lanes, const N: usize>(&mut self, l: L, r: usize, column: usize) -> usize {
        let width = const { panel::width::<L>() };
        let n_steps = self.slab.len();
        let mut rows: [&[[u8; STEP]]; N] = [&[]; N];
        for (i, row) in rows.iter_mut().enumerate() {
            let steps = self.row(r + i).as_chunks().0;
            *row = &steps[self.slab.clone()][..n_steps];
        }
        let mut totals = [[l.gsplat(0.0); 2]; N];
        if self.slab.start > 0 {
            for (i, totals) in totals.iter_mut().enumerate() {
                *totals = load(l, &self.tile[self.place(width, r + i, column)]);
            }
        }
        let words = words::<L, S>();
        for s in 0..n_steps {
            let mut x = [&[0; STEP]; N];
            for (x, row) in x.iter_mut().zip(&rows) {
                *x = &row[s];
            }
            self.ahead.step::<L, AHEAD_LINES>(l);
            add_step::<L, S, N>(l, self.step(width, column, s), words, &x, &mut totals);
        }
        for (i, totals) in totals.into_iter().enumerate() {
            let place = self.place(width, r + i, column);
            store(l, totals, &mut self.tile[place]);
        }
        N
    }
}

impl<'a, S: Shape> Multiply<'a, S> {
    /// Row `r` of the activations.
    #[inline(always)]
    fn row(&self, r: usize) -> &'a [u8] {
        &self.x.bytes[r * self.row_bytes..(r + 1) * self.row_bytes]
    }

    /// The panel from step `s` of the group of outputs from `column` on.
    #[inline(always)]
    fn step(&self, width: usize, column: usize, s: usize) -> &[u32] {
        &self.panel[(column * STEPS + s * width) * Part::<S>::IN_STEP * Part::<S>::LEN..]
    }

    /// Where row `r` and the group of outputs from `column` on are in the tile.
    #[inline(always)]
    fn place(&self, width: usize, r: usize, column: usize) -> Range<usize> {
        let at = r * self.stride + column;
        at..at + width.min(self.n_out - column)
    }

    /// Adds the products of a row's residuals, if there are any within the slab.
    #[inline(always)]
    fn residual<L: Lanes>(&mut self, l: L, r: usize) {
        let width = const { panel::width::<L>() };
        let row = self.row(r);
        let residual = self.x.step_residual(row);
        if residual.places.is_empty() {
            return;
        }
        let row = row[residual.at..].as_chunks::<STEP>().0;
        let words = words::<L, S>();
        for (place, x) in residual.places.iter().zip(row) {
            let step = usize::from(u16::from_ne_bytes(*place));
            if !self.slab.contains(&step) {
                continue;
            }
            for column in (0..self.n_out).step_by(width) {
                let place = self.place(width, r, column);
                let mut totals = [load(l, &self.tile[place.clone()])];
                let weights = self.step(width, column, step - self.slab.start);
                add_step::<L, S, 1>(l, weights, words, &[x], &mut totals);
                store(l, totals[0], &mut self.tile[place]);
            }
        }
    }
}

/// The words of a part. If the compiler knew this number with sixteen registers, it would unroll the loop over them and run
/// out of registers.
#[inline(always)]
fn words<L: Lanes, S: Shape>() -> usize {
    if const { L::LANES == 16 } { Part::<S>::WORDS } else { black_box(Part::<S>::WORDS) }
}

/// Adds the products of the step that `weights` begins with and a step of each of `N` rows. `words` are those of a part.
#[inline(always)]
fn add_step<L: Lanes, S: Shape, const N: usize>(
    l: L,
    weights: &[u32],
    words: usize,
    x: &[&[u8; STEP]; N],
    totals: &mut [[L::G; 2]; N],
) {
    let width = const { panel::width::<L>() };
    let word = |x: &[u8; STEP], i: usize| u32::from_ne_bytes(x.as_chunks().0[i % (STEP / 4)]);
    for half in 0..Part::<S>::IN_STEP {
        let part = &weights[half * Part::<S>::LEN * width..];
        let rest = &part[Part::<S>::WORDS * width..][..(Part::<S>::LEN - Part::<S>::WORDS) * width];
        let start = [l.tload(rest), l.tload(&rest[L::LANES..])];
        let mut sums = [start; N];
        if const { L::FOUR_WORDS } {
            for (four, w) in part.chunks_exact(4 * width).take(Part::<S>::WORDS / 4).enumerate() {
                let mut bytes = [&[0; 16]; N];
                for (bytes, x) in bytes.iter_mut().zip(x) {
                    *bytes = &x.as_chunks().0[half * Part::<S>::WORDS / 4 + four];
                }
                l.tadd_four(S::LIMIT, &mut sums, w, &bytes);
            }
        } else {
            for (j, w) in part.chunks_exact(width).take(words).enumerate() {
                let w = [l.tload(w), l.tload(&w[L::LANES..])];
                for (sums, x) in sums.iter_mut().zip(x) {
                    // This says to the compiler that the index is within the codes for less than it takes to check.
                    let x = word(x, (half * Part::<S>::WORDS + j) % WORDS);
                    sums[0] = l.tadd_bytes(S::LIMIT, sums[0], w[0], x);
                    sums[1] = l.tadd_bytes(S::LIMIT, sums[1], w[1], x);
                }
            }
        }
        let rest: &[f32] = bytemuck::cast_slice(&rest[width..]);
        let scales = [l.gload(rest), l.gload(&rest[L::LANES..])];
        for ((sums, x), totals) in sums.into_iter().zip(x).zip(&mut *totals) {
            let field = |i| l.gsplat(f32::from_bits(word(x, i)));
            let d = field(WORDS);
            for (v, total) in totals.iter_mut().enumerate() {
                let sum = l.to_g(l.twhole_sums(S::LIMIT, sums[v]));
                *total = l.gfma(l.gmul(sum, scales[v]), d, *total);
                if S::AFFINE {
                    let of = field(if S::HALVES && half == 0 { WORDS + 1 } else { WORDS + 2 });
                    *total = l.gfnma(l.gload(&rest[width + v * L::LANES..]), of, *total);
                }
            }
        }
    }
}
