//! What attention has seen of a range of keys, and how two ranges become one.

use super::step::{KEYS, TOGETHER, WIDEST};
use crate::ops::simd::{Kernel, Simd};

/// What a tile's queries have seen so far, and room for a step; all in a worker's scratch memory.
///
/// A query vector holds `padded` values; `totals[i]` is the sum of `exp(score - base[i])`, and `sums[i]` the sum of the
/// values with those weights.
pub(super) struct State<'a> {
    pub(super) padded: usize,
    n: usize,
    pub(super) queries: &'a mut [f32],
    pub(super) sums: &'a mut [f32],
    pub(super) base: &'a mut [f32],
    /// `[n][WIDEST]`, parts of sums.
    pub(super) totals: &'a mut [f32],
    /// `[n][KEYS]`.
    pub(super) weights: &'a mut [f32],
    /// `[TOGETHER][KEYS]` registers of products, parts of scores.
    pub(super) products: &'a mut [f32],
    /// Keys and values of a step, where they must be converted first.
    pub(super) keys: &'a mut [f32],
    pub(super) values: &'a mut [f32],
}

/// Floats of scratch memory that a state of `n` query vectors takes.
pub(super) fn scratch_len(n: usize, padded: usize) -> usize {
    let per_query = padded.saturating_mul(2).saturating_add(1 + WIDEST + KEYS);
    n.saturating_mul(per_query).saturating_add(padded.saturating_mul(2 * KEYS)).saturating_add(PRODUCTS)
}

/// Floats of the products of a step.
const PRODUCTS: usize = TOGETHER * KEYS * WIDEST;

impl<'a> State<'a> {
    pub(super) fn new(scratch: &'a mut [f32], n: usize, padded: usize) -> Self {
        let (keys, rest) = scratch.split_at_mut(KEYS * padded);
        let (values, rest) = rest.split_at_mut(KEYS * padded);
        let (products, rest) = rest.split_at_mut(PRODUCTS);
        let (weights, rest) = rest.split_at_mut(n * KEYS);
        let (queries, rest) = rest.split_at_mut(n * padded);
        let (sums, rest) = rest.split_at_mut(n * padded);
        let (base, rest) = rest.split_at_mut(n);
        let totals = &mut rest[..n * WIDEST];
        Self { padded, n: 0, queries, sums, base, totals, weights, products, keys, values }
    }

    /// Starts with `n` query vectors that have seen nothing.
    pub(super) fn clear(&mut self, n: usize) {
        self.n = n;
        self.sums.fill(0.0);
        self.totals.fill(0.0);
        self.base.fill(f32::NEG_INFINITY);
    }

    /// Starts with `n` query vectors of `d` values, which begin at `starts` in `q`, scaled.
    pub(super) fn load_queries(
        &mut self,
        q: &[f32],
        n: usize,
        starts: impl Iterator<Item = usize>,
        d: usize,
        scale: f32,
    ) {
        self.clear(n);
        for (start, query) in starts.zip(self.queries.chunks_exact_mut(self.padded)) {
            let (values, padding) = query.split_at_mut(d);
            values.iter_mut().zip(&q[start..start + d]).for_each(|(to, q)| *to = q * scale);
            padding.fill(0.0);
        }
    }

    /// The sum of the weights of query vector `i`.
    fn total(&self, i: usize) -> f32 {
        self.totals[i * WIDEST..(i + 1) * WIDEST].iter().sum()
    }

    /// The attention output of query vector `i`.
    pub(super) fn result(&self, i: usize, out: &mut [f32]) {
        let total = self.total(i);
        out.iter_mut().zip(&self.sums[i * self.padded..]).for_each(|(out, sum)| *out = sum / total);
    }

    /// Writes what was seen, for [`Merge`].
    pub(super) fn save(&self, into: &mut [f32]) {
        let (sums, rest) = into.split_at_mut(self.sums.len());
        sums.copy_from_slice(self.sums);
        let (base, totals) = rest.split_at_mut(self.base.len());
        base.copy_from_slice(self.base);
        totals.iter_mut().enumerate().for_each(|(i, total)| *total = self.total(i));
    }
}

/// Adds what the same queries have seen elsewhere.
pub(super) struct Merge<'s, 'a> {
    pub(super) state: &'s mut State<'a>,
    /// Written by [`State::save`].
    pub(super) saved: &'s [f32],
}

impl Kernel for Merge<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { state, saved } = self;
        let (sums, rest) = saved.split_at(state.sums.len());
        let (base, totals) = rest.split_at(state.base.len());
        for i in 0..state.n {
            let next = state.base[i].max(base[i]);
            let [ours, theirs] = [state.base[i], base[i]].map(|v| libm::expf(v - finite(next)));
            state.base[i] = next;
            let total = &mut state.totals[i * WIDEST];
            *total = *total * ours + totals[i] * theirs;
            let at = i * state.padded..(i + 1) * state.padded;
            for (sum, other) in state.sums[at.clone()].iter_mut().zip(&sums[at]) {
                *sum = *sum * ours + other * theirs;
            }
        }
    }
}

/// Nothing seen yet: any finite number will do, and infinity would make NaN of the difference.
#[inline(always)]
pub(super) fn finite(base: f32) -> f32 {
    if base == f32::NEG_INFINITY { 0.0 } else { base }
}
