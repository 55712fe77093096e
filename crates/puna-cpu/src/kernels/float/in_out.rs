//! `[n_in, n_out]` weights: outputs run along the lanes and each activation multiplies a whole vector of them.

use super::source::Source;
use super::{DEPTH, OUTS, Product, chunks, multiply};
use crate::kernels::lanes::{Kernel, Lanes};
use crate::kernels::panel;
use crate::matmul::{Kernels, MatRef};
use core::marker::PhantomData;
use core::ops::Range;

/// Up to this many rows, whole rows of weights are added to the sums as they stream by; beyond, panels are unpacked.
const FEW_ROWS: usize = 4;
/// Inputs whose weights are added to a vector of sums at a time.
const UNROLL: usize = 8;

pub(super) fn product<S: Source>(kernels: &Kernels, mut p: Product<'_>) {
    if p.x.n_rows <= FEW_ROWS {
        p.tile.fill(0.0);
        return kernels.enter(Stream { product: p, source: PhantomData::<S> });
    }
    for depth in chunks(0..p.w.mat.n_in, DEPTH) {
        for outs in chunks(p.outs.clone(), OUTS) {
            let panel = bytemuck::cast_slice_mut(&mut p.scratch.panel);
            let source = PhantomData::<S>;
            kernels.enter(Pack { w: p.w, depth: &depth, outs: &outs, panel, source });
            multiply(kernels, &mut p, &depth, &outs);
        }
    }
}

/// Unpacks a panel. Beyond the last output there is what was there before: nothing reads those sums.
struct Pack<'a, S> {
    w: MatRef<'a>,
    depth: &'a Range<usize>,
    outs: &'a Range<usize>,
    panel: &'a mut [f32],
    source: PhantomData<S>,
}

impl<S: Source> Kernel for Pack<'_, S> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let width = const { panel::width::<L>() };
        let groups = self.panel.chunks_exact_mut(self.depth.len() * width);
        for (outs, group) in chunks(self.outs.clone(), width).zip(groups) {
            for (to, i) in group.chunks_exact_mut(width).zip(self.depth.clone()) {
                S::expand(l, &self.w.row(i)[outs.start * S::SIZE..], 0, &mut to[..outs.len()]);
            }
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
                let ahead = if r == 0 { UNROLL * p.w.mat.stride } else { 0 };
                add_rows::<L, S, UNROLL>(l, &w, x, ins.start, ahead, sums);
            } else {
                for (w, i) in w.iter().zip(ins.clone()) {
                    add_rows::<L, S, 1>(l, &[w], x, i, 0, sums);
                }
            }
        }
    }
}

/// Adds `N` rows of weights times the activations from input `at` on, and asks for what is `ahead` bytes behind them
/// unless that is 0: strips are too short for the processor to foresee.
#[inline(always)]
fn add_rows<L: Lanes, S: Source, const N: usize>(
    l: L,
    w: &[&[u8]; N],
    x: &[u8],
    at: usize,
    ahead: usize,
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
        if ahead > 0 && (o * 16 * S::SIZE).is_multiple_of(64) {
            for chunks in &chunks {
                l.prefetch(chunks[o].as_ref(), ahead);
            }
        }
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
