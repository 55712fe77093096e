//! Many rows: a panel of weights becomes columns, pair by pair, and outputs run along the lanes. An activation is read for 32
//! outputs then, a weight for eight rows, and no sum has to be added up across lanes.
//!
//! Eight rows by two vectors are sixteen sums. If two of the instruction begin in a cycle and take six, twelve would just do;
//! neither that nor the sizes of panels and blocks has been timed on a Zen 5.

use super::{Kernel, Pairs, Product, enter, tiles};
use crate::kernels::lanes::Lanes;
use crate::kernels::panel::{self, MAX_WIDTH as WIDTH, load, store};
use crate::kernels::slab::{Ahead, chunks};
use crate::matmul::{Kernels, MatRef, Packed};
use core::ops::Range;

/// Outputs of a panel.
const OUTS: usize = 64;
/// Inputs of a panel, whole blocks of any format: a group of its outputs is 32 KiB then, the larger part of a first-level cache.
///
/// With tiles, panels of 32 outputs by 256 inputs stay in that cache, and a loop that fills them with zeros and multiplies 32 rows
/// takes half the time of one with these (0.056 and 0.117 ns a weight, one thread of a Sapphire Rapids), 512 rows 0.88 in place
/// of 1.01. But here they lose, three runs in turns: 32 rows of Q4_0 277 GOP/s in place of 304, 512 rows 707 and 772, Q4_K 205 and
/// 235, 650 and 735. Four times as many panels cost more than the cache gives.
const DEPTH: usize = 512;
/// Words of a group of outputs.
pub(super) const GROUP: usize = DEPTH / 2 * WIDTH;
/// Cache lines of weights that are asked for with every two pairs of a few rows: all of a panel before the fewest rows have
/// passed.
const AHEAD_LINES: usize = 2;
/// Most rows of a block.
const BLOCK: usize = 8;

/// A panel to be filled.
pub(super) struct Panel<'a> {
    pub(super) w: MatRef<'a>,
    pub(super) depth: &'a Range<usize>,
    pub(super) outs: &'a Range<usize>,
    /// `[OUTS / WIDTH][DEPTH / 2][WIDTH]` pairs.
    pub(super) words: &'a mut [u32],
    /// What to ask for meanwhile.
    pub(super) ahead: &'a mut Ahead<'a>,
}

/// A way to make columns of weights.
pub(super) trait Fill {
    /// Where an input is in a row.
    fn bytes(input: usize) -> usize;

    /// Makes columns of the inputs `depth` of the outputs `outs`, and zeros up to whole steps of 32 inputs.
    fn fill(kernels: &Kernels, panel: Panel<'_>);
}

/// The product of more than [`few::ROWS`](super::few::ROWS) rows.
pub(super) fn product<F: Fill>(kernels: &Kernels, p: Product<'_>) {
    let Product { w, x, outs, scratch, tile } = p;
    let n_in = w.mat.n_in;
    let mut shapes = kernels.amx().map(tiles::Shapes::new);
    for depth in chunks(0..n_in, DEPTH) {
        for part in chunks(outs.clone(), OUTS) {
            let ahead = Ahead::after(w, (&outs, &part), (&depth, n_in), (OUTS, DEPTH), F::bytes);
            // Tiles are multiplied sooner than a panel is filled, so it is asked for before.
            let (mut filling, multiplying) =
                if shapes.is_some() { (ahead, Ahead::nothing(w)) } else { (Ahead::nothing(w), ahead) };
            let words = bytemuck::cast_slice_mut(&mut scratch.panel);
            F::fill(kernels, Panel { w, depth: &depth, outs: &part, words, ahead: &mut filling });
            let many = Many {
                x,
                depth: &depth,
                n_out: part.len(),
                panel: bytemuck::cast_slice(&scratch.panel),
                tile: &mut tile[part.start - outs.start..],
                stride: outs.len(),
                ahead: multiplying,
            };
            match &mut shapes {
                Some(shapes) => tiles::multiply(shapes, many),
                None => enter(kernels, many),
            }
        }
    }
}

/// The products of all rows with a panel.
pub(super) struct Many<'a> {
    pub(super) x: Packed<'a>,
    pub(super) depth: &'a Range<usize>,
    pub(super) n_out: usize,
    /// As [`Panel`] has them.
    pub(super) panel: &'a [u32],
    /// Rows of `stride` values, of which the first `n_out` are computed. They hold the sums of earlier inputs.
    pub(super) tile: &'a mut [f32],
    pub(super) stride: usize,
    ahead: Ahead<'a>,
}

impl Kernel for Many<'_> {
    #[inline(always)]
    fn run<P: Pairs>(mut self, p: P) {
        for rows in chunks(0..self.x.n_rows, panel::ROWS) {
            for column in (0..self.n_out).step_by(WIDTH) {
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
        let n_out = WIDTH.min(self.n_out - column);
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
