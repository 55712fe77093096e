//! Products of 8-bit weights with many rows of 8-bit activations, for processors whose only products of bytes overflow:
//! with codes up to ±128, AVX2 multiplies 16-bit pairs as fast as bytes and needs nothing to keep sums from overflowing.
//!
//! Outputs run along the lanes, two vectors at a time. The weights of a slab, [`OUTS`] outputs by [`STEPS`] steps of 32
//! inputs, are unpacked once to 16 bits that stay in the second-level cache. Six rows by two vectors are twelve sums, two
//! weights, one pair of activations and one product: the sixteen registers of AVX2. After each step the sums become
//! floats under their scales.
//!
//! One thread of a Zen 3 beside a busy sibling, 577 x 1408 by 1408 x 64 already unpacked: 130 to 138 GOP/s; five rows by
//! two vectors 124, four by three 122, three by four 101; bytes with `abs` and `sign` (six by two, weights and their
//! magnitudes unpacked) 107, four by two 123. The loop over pairs unrolled by four loses a tenth of the whole tower; by two,
//! `roofline q8_0` in turns with the build before, one thread, medians of five: 512 rows 87 GOP/s in place of 73, 32 rows 69
//! in place of 62; single runs of one build differ by up to 1.5 times. A check
//! of each index of a pair cost 8 % (six by two in a loop by itself, 111 GOP/s with it, 120 without, 125 unchecked
//! altogether). In a loop by itself, slabs of 8, 16 and 24 steps are the same, 109 to 110: that the last one's weights and
//! six rows are a little more than the first-level cache holds does not matter. Additions bound the loop as they do that
//! of [`narrow`](super::narrow), at two of them and two multiplications for four inputs: 12.5 cycles a step of eight
//! outputs where bytes at their peak take 8.
//!
//! Totals left to the compiler were kept in registers and moved out and in again with every step: in memory throughout, 128
//! rows go at 113 GOP/s in place of 107, 32 at 105 in place of 104 (`roofline --rows`, builds in turns, the best of six runs).
//!
//! Bytes by bytes, with activations that make them fit, were tried: weights made unsigned, and of activations no two
//! neighbours of one sign above 128 together and no four above 255, for which codes of 8 bits keep 7.7. Sums of two words then
//! stay in 16 bits, which takes six instructions where this takes eight. Four rows by two vectors at a time, 32
//! and 128 rows (`roofline --rows`, the best of three runs): Q8_0 128 and 135 GOP/s in place of 109 and 120, IQ4_XS 131 and 133 in
//! place of 114 and 120. But a whole model of Scout's dimensions in Q8_0 hardly gained (prefill of 512, two threads, four rounds
//! in turns: ratios 0.87, 1.00, 1.01 and 1.13), that of SmolLM2 lost a tenth, nearly all of it to packing; and SmolLM2 in Q8_0
//! moved 2.3e-3 nats from F32 activations, and 0.2 % in perplexity, where 16-bit codes move it 8e-7.
//!
//! Prefill of 512 tokens at Scout's dimensions, two threads, four runs before and after in turns: 63 to 87 tokens/s with each
//! row of weights widened before rows became columns and nothing asked for ahead, 75 to 90 as now (ratios 1.25, 0.90, 1.08,
//! 1.19).

use super::blocks::{Block, Step};
use super::lanes::{self, Kernel, Lanes};
use super::panel::{self, Blocks};
use super::slab::{Ahead, Keep, Unpack, chunks, filled};
use crate::matmul::{Kernels, MatRef, Packed, WIDE_STEP};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::hint::black_box;
use core::ops::Range;

/// Outputs of a slab.
const OUTS: usize = 64;
/// Those of a slab for as many rows as pass all groups of outputs at a time, or fewer: their weights stay in the first-level cache.
const FEW_OUTS: usize = 16;
/// Steps of a slab.
const STEPS: usize = 24;
/// Cache lines of weights that are asked for with every step of a few rows.
const AHEAD_LINES: usize = 4;
/// Pairs of codes in a step.
const PAIRS: usize = 16;

/// Working memory of the kernel, 100 KiB.
pub(crate) struct WideScratch {
    /// `[OUTS / width][STEPS][PAIRS][width]`, pairs of values as [`Form::Steps`](crate::matmul::Form::Steps) has them.
    codes: Vec<u32>,
    /// `[OUTS / width][STEPS][width]`.
    scales: Vec<f32>,
}

impl WideScratch {
    pub(crate) fn new() -> Result<Self, TryReserveError> {
        Ok(Self { codes: filled(0, OUTS * STEPS * PAIRS)?, scales: filled(0.0, OUTS * STEPS)? })
    }
}

/// The product, written to `tile` without the row scales. The format has one scale for a step, and no minima. Only for
/// AVX2: nothing else takes this form of activations.
pub(crate) fn product<B: Block>(
    kernels: &Kernels,
    w: MatRef<'_>,
    x: Packed<'_>,
    outs: Range<usize>,
    scratch: &mut WideScratch,
    tile: &mut [f32],
) {
    let n_steps = x.n_in / 32;
    let n_outs = if x.n_rows <= panel::ROWS { FEW_OUTS } else { OUTS };
    for slab in chunks(0..n_steps, STEPS) {
        for part in chunks(outs.clone(), n_outs) {
            let bytes = |step| step / B::STEPS * B::BYTES;
            let ahead = Ahead::after(w, (&outs, &part), (&slab, n_steps), (n_outs, STEPS), bytes);
            kernels.enter_avx2(Unpack::<B, _>::new(w, &part, &slab, Columns(&mut *scratch)));
            kernels.enter_avx2(Multiply {
                x,
                row_bytes: x.row_bytes(),
                slab: &slab,
                scratch,
                tile: &mut tile[part.start - outs.start..],
                stride: outs.len(),
                n_out: part.len(),
                ahead,
            });
        }
    }
}

/// Keeps pairs of 16-bit codes as columns, and their scales.
struct Columns<'a>(&'a mut WideScratch);

impl Keep for Columns<'_> {
    #[inline(always)]
    fn keep<L: lanes::Columns>(&mut self, l: L, at: usize, first: usize, step: Step<L>) {
        let width = const { panel::width::<L>() };
        let Self(scratch) = self;
        let (at, lane) = (first / width * STEPS + at, first % width);
        let pairs = scratch.codes[PAIRS * at * width..][..PAIRS * width].chunks_exact_mut(width);
        let columns = step.codes.into_iter().flat_map(|codes| l.twiden_bytes(codes));
        for (to, pair) in pairs.zip(columns) {
            l.tstore(pair, &mut to[lane..]);
        }
        l.gstore(step.scale[0], &mut scratch.scales[at * width + lane..]);
    }
}

/// Multiplies the activations by the unpacked slab.
struct Multiply<'a> {
    x: Packed<'a>,
    /// Bytes of a row of them.
    row_bytes: usize,
    slab: &'a Range<usize>,
    scratch: &'a WideScratch,
    /// Rows of `stride` values, of which `n_out` are computed. They hold the sums of earlier slabs.
    tile: &'a mut [f32],
    stride: usize,
    n_out: usize,
    ahead: Ahead<'a>,
}

impl Kernel for Multiply<'_> {
    #[inline(always)]
    fn run<L: Lanes>(mut self, l: L) {
        for rows in chunks(0..self.x.n_rows, panel::ROWS) {
            self.pass(l, rows, self.n_out);
        }
    }
}

impl Blocks for Multiply<'_> {
    #[inline(always)]
    fn block<L: Lanes, const N: usize>(&mut self, l: L, r: usize, column: usize) -> usize {
        let width = const { panel::width::<L>() };
        let n_steps = self.slab.len();
        let codes = &self.scratch.codes[column * STEPS * PAIRS..][..n_steps * PAIRS * width];
        let scales = &self.scratch.scales[column * STEPS..][..n_steps * width];
        let mut rows: [&[[u8; WIDE_STEP]]; N] = [&[]; N];
        for (i, row) in rows.iter_mut().enumerate() {
            let steps = self.x.bytes[(r + i) * self.row_bytes..(r + i + 1) * self.row_bytes].as_chunks().0;
            *row = &steps[self.slab.clone()][..n_steps];
        }
        let n_out = width.min(self.n_out - column);
        let place = |i: usize| (r + i) * self.stride + column;
        let mut totals = [[0.0; panel::MAX_WIDTH]; N];
        if self.slab.start > 0 {
            for (i, totals) in totals.iter_mut().enumerate() {
                totals[..n_out].copy_from_slice(&self.tile[place(i)..][..n_out]);
            }
        }
        let steps = codes.chunks_exact(PAIRS * width).zip(scales.chunks_exact(width));
        for (s, (codes, scales)) in steps.enumerate() {
            self.ahead.step::<L, AHEAD_LINES>(l);
            let mut sums = [[l.tzero(); 2]; N];
            let mut x = [&[0; WIDE_STEP]; N];
            for (x, row) in x.iter_mut().zip(&rows) {
                *x = &row[s];
            }
            // Two pairs at a time: fewer instructions that only count and test.
            for (j, w) in codes.chunks_exact(2 * width).enumerate() {
                // `j` is less than half of `PAIRS`. This says so to the compiler for less than it takes to check.
                let x = x.map(|x| x.as_chunks::<8>().0[j % (PAIRS / 2)].as_chunks::<4>().0);
                for (i, w) in w.chunks_exact(width).enumerate() {
                    let w = [l.tload(w), l.tload(&w[L::LANES..])];
                    for (sums, x) in sums.iter_mut().zip(x) {
                        let x = u32::from_ne_bytes(x[i]);
                        sums[0] = l.tmul16_pairs(sums[0], w[0], x);
                        sums[1] = l.tmul16_pairs(sums[1], w[1], x);
                    }
                }
            }
            let scales = [l.gload(scales), l.gload(&scales[L::LANES..])];
            for ((sums, x), totals) in sums.into_iter().zip(x).zip(&mut totals) {
                let d = l.gsplat(f32::from_ne_bytes(x.as_chunks().0[PAIRS]));
                for ((sum, scale), totals) in
                    sums.into_iter().zip(scales).zip(totals.chunks_exact_mut(L::LANES))
                {
                    l.gstore(l.gfma(l.to_g(sum), l.gmul(scale, d), l.gload(totals)), totals);
                }
            }
            // Totals stay in memory: kept in registers, they would be moved out and in again besides.
            black_box(&mut totals);
        }
        for (i, totals) in totals.iter().enumerate() {
            let at = place(i);
            self.tile[at..at + n_out].copy_from_slice(&totals[..n_out]);
        }
        N
    }
}
