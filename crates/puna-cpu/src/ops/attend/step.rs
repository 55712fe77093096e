//! One step of attention: a few keys and values of one head against the query vectors of a tile.
//!
//! Tried and dropped, one row over 100,000 positions, 8 x 5 heads of 128, one thread of a Zen 3 (63 ms of processor time,
//! 6.5 GB/s, where a plain read reaches 15 to 20): 16 keys a step (63 to 67 ms); asking for the next step's lines one at
//! a time between the multiply-adds instead of all at once while widening (70 to 73 ms). What is left is arithmetic:
//! widening takes 13 of 71 ns for a key in cache, multiply-adds at their peak would take 25.

use super::Vectors;
use crate::ops::simd::{Kernel, Simd};
use core::array::from_fn;
use core::ops::Range;
use half::f16;

/// Keys of a step at most. Their vectors, converted to F32, stay in the L1 cache.
pub(super) const KEYS: usize = 32;
/// Vectors are padded with zeros to a multiple of this: two of the widest registers.
pub(super) const PAD: usize = 32;

/// What a tile's queries have seen so far, and room for a step; all in a worker's scratch memory.
///
/// A query vector holds `padded` values; `totals[i]` is the sum of `exp(score - largest[i])`, and `sums[i]` the sum
/// of the values with those weights.
pub(super) struct State<'a> {
    padded: usize,
    n: usize,
    queries: &'a mut [f32],
    sums: &'a mut [f32],
    largest: &'a mut [f32],
    totals: &'a mut [f32],
    /// `[n][KEYS]`.
    weights: &'a mut [f32],
    keys: &'a mut [f32],
    values: &'a mut [f32],
}

/// Floats of scratch memory that a state of `n` query vectors takes.
pub(super) fn scratch_len(n: usize, padded: usize) -> usize {
    let per_query = padded.saturating_mul(2).saturating_add(2 + KEYS);
    n.saturating_mul(per_query).saturating_add(padded.saturating_mul(2 * KEYS))
}

impl<'a> State<'a> {
    pub(super) fn new(scratch: &'a mut [f32], n: usize, padded: usize) -> Self {
        let (keys, rest) = scratch.split_at_mut(KEYS * padded);
        let (values, rest) = rest.split_at_mut(KEYS * padded);
        let (weights, rest) = rest.split_at_mut(n * KEYS);
        let (queries, rest) = rest.split_at_mut(n * padded);
        let (sums, rest) = rest.split_at_mut(n * padded);
        let (largest, rest) = rest.split_at_mut(n);
        Self { padded, n: 0, queries, sums, largest, totals: &mut rest[..n], weights, keys, values }
    }

    /// Starts with `n` query vectors that have seen nothing.
    pub(super) fn clear(&mut self, n: usize) {
        self.n = n;
        self.sums.fill(0.0);
        self.totals.fill(0.0);
        self.largest.fill(f32::NEG_INFINITY);
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

    /// The attention output of query vector `i`.
    pub(super) fn result(&self, i: usize, out: &mut [f32]) {
        let total = self.totals[i];
        out.iter_mut().zip(&self.sums[i * self.padded..]).for_each(|(out, sum)| *out = sum / total);
    }

    /// Writes what was seen, for [`merge`](Self::merge).
    pub(super) fn save(&self, into: &mut [f32]) {
        let (sums, rest) = into.split_at_mut(self.sums.len());
        sums.copy_from_slice(self.sums);
        let (largest, totals) = rest.split_at_mut(self.largest.len());
        largest.copy_from_slice(self.largest);
        totals.copy_from_slice(self.totals);
    }

    /// Adds what the same queries have seen elsewhere.
    pub(super) fn merge(&mut self, saved: &[f32]) {
        let (sums, rest) = saved.split_at(self.sums.len());
        let (largest, totals) = rest.split_at(self.largest.len());
        for i in 0..self.n {
            let next = self.largest[i].max(largest[i]);
            let [ours, theirs] = [self.largest[i], largest[i]].map(|v| libm::expf(v - finite(next)));
            self.largest[i] = next;
            self.totals[i] = self.totals[i] * ours + totals[i] * theirs;
            let at = i * self.padded..(i + 1) * self.padded;
            for (sum, other) in self.sums[at.clone()].iter_mut().zip(&sums[at]) {
                *sum = *sum * ours + other * theirs;
            }
        }
    }
}

/// Nothing seen yet: any finite number will do, and infinity would make NaN of the difference.
#[inline(always)]
fn finite(largest: f32) -> f32 {
    if largest == f32::NEG_INFINITY { 0.0 } else { largest }
}

/// See the module. `visible` says which of the keys a row sees.
pub(super) struct Step<'s, 'a, F> {
    pub(super) state: &'s mut State<'a>,
    pub(super) keys: Vectors<'s>,
    pub(super) values: Vectors<'s>,
    /// Keys of this step, at most [`KEYS`], of `d` values each.
    pub(super) n: usize,
    pub(super) d: usize,
    /// Rows of the tile, `group` query vectors each.
    pub(super) rows: Range<usize>,
    pub(super) group: usize,
    pub(super) visible: F,
}

impl<F: Fn(usize) -> Option<Range<usize>>> Kernel for Step<'_, '_, F> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { state, n, d, rows, group, visible, .. } = self;
        widen(s, self.keys, d, state.padded, state.keys);
        widen(s, self.values, d, state.padded, state.values);
        // Rows see a window that only moves on, so if the first and the last see all keys, the others do.
        let all = 0..n;
        let full = [rows.start, rows.end - 1].map(&visible).iter().all(|v| v.as_ref() == Some(&all));
        if full {
            return part(s, state, 0..rows.len() * group, all);
        }
        for (i, row) in rows.enumerate() {
            // What a row does not see is not even multiplied by zero: it may be anything, also NaN.
            if let Some(keys) = visible(row) {
                part(s, state, i * group..(i + 1) * group, keys);
            }
        }
    }
}

/// Query vectors that go through the keys together: with two keys, what sixteen registers hold.
const TOGETHER: usize = 6;

/// Query vectors `queries` against the keys `keys` of this step, all of which they see.
#[inline(always)]
fn part<S: Simd>(s: S, state: &mut State<'_>, queries: Range<usize>, keys: Range<usize>) {
    let mut i = queries.start;
    while i < queries.end {
        let left = queries.end - i;
        // Even shares: seven are four and three rather than six and one.
        let m = left.div_ceil(left.div_ceil(TOGETHER));
        let (queries, keys) = (i..i + m, keys.clone());
        match m {
            1 => together::<S, 1, 8>(s, state, queries, keys),
            2 => together::<S, 2, 4>(s, state, queries, keys),
            3 => together::<S, 3, 2>(s, state, queries, keys),
            4 => together::<S, 4, 2>(s, state, queries, keys),
            5 => together::<S, 5, 2>(s, state, queries, keys),
            _ => together::<S, 6, 2>(s, state, queries, keys),
        }
        i += m;
    }
}

/// `Q` query vectors, whose scores are taken for `K` keys at a time.
#[inline(always)]
fn together<S: Simd, const Q: usize, const K: usize>(
    s: S,
    state: &mut State<'_>,
    queries: Range<usize>,
    keys: Range<usize>,
) {
    let padded = state.padded;
    let n = keys.len();
    let k = &state.keys[keys.start * padded..keys.end * padded];
    let v = &state.values[keys.start * padded..keys.end * padded];
    let vectors = queries.start * padded..queries.end * padded;
    let w = &mut state.weights[queries.start * KEYS..queries.end * KEYS];
    let sums = &mut state.sums[vectors.clone()];
    scores::<S, Q, K>(s, &state.queries[vectors], k, padded, n, w);
    for ((j, w), i) in w.chunks_exact_mut(KEYS).enumerate().zip(queries) {
        w[n..].fill(f32::NEG_INFINITY);
        let (largest, total) = (&mut state.largest[i], &mut state.totals[i]);
        softmax(s, w, largest, total, &mut sums[j * padded..(j + 1) * padded]);
    }
    if Q <= 2 && PAD >= 4 * S::N {
        accumulate::<S, Q, 4>(s, w, v, padded, n, sums);
    } else {
        accumulate::<S, Q, 2>(s, w, v, padded, n, sums);
    }
}

/// `w[j][k] = q[j] · k[k]` for `Q` query vectors and `K` keys at a time.
#[inline(always)]
fn scores<S: Simd, const Q: usize, const K: usize>(
    s: S,
    q: &[f32],
    k: &[f32],
    padded: usize,
    n: usize,
    w: &mut [f32],
) {
    assert!(q.len() == Q * padded && k.len() == n * padded && w.len() == Q * KEYS && 0 < n && n <= KEYS);
    assert!(padded.is_multiple_of(S::N));
    for at in (0..n).step_by(K) {
        // Past the end, the last key goes again.
        let rows: [usize; K] = from_fn(|j| (at + j).min(n - 1) * padded);
        let mut sums = [[s.splat(0.0); K]; Q];
        for i in (0..padded).step_by(S::N) {
            // SAFETY: `i + N <= padded`, and `rows` and row `j` lie inside by the assertion above.
            unsafe {
                let (q, k) = (q.as_ptr().add(i), k.as_ptr().add(i));
                let keys: [S::V; K] = from_fn(|j| s.load(k.add(rows[j])));
                for (j, sums) in sums.iter_mut().enumerate() {
                    let q = s.load(q.add(j * padded));
                    for (sum, key) in sums.iter_mut().zip(keys) {
                        *sum = s.fma(q, key, *sum);
                    }
                }
            }
        }
        for (w, sums) in w.chunks_exact_mut(KEYS).zip(sums) {
            for (pair, sums) in sums.as_chunks::<2>().0.iter().enumerate() {
                let key = at + 2 * pair;
                let [first, second] = s.sums(*sums);
                w[(key + 1).min(n - 1)] = second;
                w[key.min(n - 1)] = first;
            }
        }
    }
}

/// Turns scores into weights, and what was summed so far to the new largest score.
#[inline(always)]
fn softmax<S: Simd>(s: S, w: &mut [f32], largest: &mut f32, total: &mut f32, sums: &mut [f32]) {
    assert!(w.len().is_multiple_of(S::N));
    let mut max = s.splat(*largest);
    for w in w.chunks_exact(S::N) {
        // SAFETY: a chunk has `N` values.
        max = s.max(max, unsafe { s.load(w.as_ptr()) });
    }
    let next = s.largest(max);
    let minus = s.splat(-finite(next));
    let mut added = s.splat(0.0);
    for w in w.chunks_exact_mut(S::N) {
        // SAFETY: a chunk has `N` values.
        unsafe {
            let weight = s.exp(s.add(s.load(w.as_ptr()), minus));
            s.store(w.as_mut_ptr(), weight);
            added = s.add(added, weight);
        }
    }
    if next != *largest {
        let factor = libm::expf(*largest - finite(next));
        *total *= factor;
        sums.iter_mut().for_each(|v| *v *= factor);
        *largest = next;
    }
    *total += s.sum(added);
}

/// `sums[j] += w[j][k] * v[k]` over all keys, for `Q` query vectors, `P` registers of each at a time.
#[inline(always)]
fn accumulate<S: Simd, const Q: usize, const P: usize>(
    s: S,
    w: &[f32],
    v: &[f32],
    padded: usize,
    n: usize,
    sums: &mut [f32],
) {
    assert!(sums.len() == Q * padded && v.len() == n * padded && w.len() == Q * KEYS && n <= KEYS);
    assert!(padded.is_multiple_of(P * S::N));
    for i in (0..padded).step_by(P * S::N) {
        // SAFETY: `i + P * N <= padded`, and rows `j` and `k` lie inside by the assertions above.
        unsafe {
            let (sums, v) = (sums.as_mut_ptr().add(i), v.as_ptr().add(i));
            let mut acc: [[S::V; P]; Q] = from_fn(|j| from_fn(|p| s.load(sums.add(j * padded + p * S::N))));
            for k in 0..n {
                let values: [S::V; P] = from_fn(|p| s.load(v.add(k * padded + p * S::N)));
                for (j, acc) in acc.iter_mut().enumerate() {
                    let weight = s.splat(*w.as_ptr().add(j * KEYS + k));
                    for (acc, value) in acc.iter_mut().zip(values) {
                        *acc = s.fma(weight, value, *acc);
                    }
                }
            }
            for (j, acc) in acc.into_iter().enumerate() {
                for (p, acc) in acc.into_iter().enumerate() {
                    s.store(sums.add(j * padded + p * S::N), acc);
                }
            }
        }
    }
}

/// Vectors of `d` values as F32, each padded with zeros.
#[inline(always)]
fn widen<S: Simd>(s: S, from: Vectors<'_>, d: usize, padded: usize, to: &mut [f32]) {
    match from {
        Vectors::F32(from) => {
            for (from, to) in from.chunks_exact(d).zip(to.chunks_exact_mut(padded)) {
                let (values, padding) = to.split_at_mut(d);
                values.copy_from_slice(from);
                padding.fill(0.0);
            }
        }
        Vectors::F16(from) => {
            let step = from.len();
            for (from, to) in from.chunks_exact(d).zip(to.chunks_exact_mut(padded)) {
                // The same vectors of the next step, which usually follow: they arrive while this one computes.
                for line in (0..d).step_by(32) {
                    s.prefetch(from.as_ptr().wrapping_add(step + line));
                }
                let mut pieces = from.chunks_exact(S::N);
                for (piece, to) in (&mut pieces).zip(to.chunks_exact_mut(S::N)) {
                    // SAFETY: both have `N` values.
                    unsafe { s.store(to.as_mut_ptr(), s.load_f16(piece.as_ptr())) }
                }
                let rest = pieces.remainder();
                let (tail, padding) = to[d - rest.len()..].split_at_mut(rest.len());
                tail.iter_mut().zip(rest).for_each(|(to, v)| *to = f16::to_f32(*v));
                padding.fill(0.0);
            }
        }
    }
}
