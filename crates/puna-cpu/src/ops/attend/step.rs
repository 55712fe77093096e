//! One step of attention: a few keys and values of one head against the query vectors of a tile.
//!
//! F16 vectors become F32 as they are multiplied, once for the scores and once for the sums. Nanoseconds for a key and a
//! value of 128 with five query vectors, in a loop by itself on one thread of a Zen 3 beside a busy sibling, where
//! multiply-adds alone would take 27:
//!
//! | | in cache | from memory |
//! |---|---|---|
//! | made F32 in memory first, 32 keys a step | 72 to 80 | 109 to 112 |
//! | the same, 16 keys | 55 | 84 |
//! | as they are multiplied, 32 keys | 45 to 50 | 92 to 128 |
//! | the same, 16 keys | 54 | 118 to 130 |
//! | the same, asking 8 KiB ahead for keys and values while scores are taken | 46 to 58 | 87 to 104 |
//! | asking for the next step, keys while scores are taken and values while they are summed | 45 to 63 | 57 to 70 |
//!
//! The last three lines are of one busier day, medians of runs in turns, when a plain read took 46 to 54. Asking two steps
//! ahead 65 to 71, three 71 to 72. There each line was asked for among the multiply-adds that sum values; in the op that
//! cost registers, so it now happens between runs of them. The whole op on Zen 3, three runs (`roofline --attend 1,2`):
//! 5.2 to 5.6 GB/s of the 9.5 to 10.1 that one thread reads, 9.6 to 10.1 of the 16.1 to 19.8 that two do. It is not memory
//! that it waits for: over 1024 and 4096 positions, which stay in cache, one thread did 3.9 and 4.4 GB/s on a day when it did
//! 4.5 over 32,768 and read 8.5. What it lacks to the loop by itself is not known. With thirty query vectors, which could share what was made F32 once, the two ways take
//! the same.

use super::Vectors;
use crate::ops::simd::{Kernel, Simd};
use core::array::from_fn;
use core::mem;
use core::ops::Range;
use half::f16;

/// Keys of a step at most. Their vectors stay in the L1 cache with those of the queries and their sums.
pub(super) const KEYS: usize = 16;
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
    /// Keys and values of a step, where they must be converted first.
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
    /// Keys and values of the step that follows, if it is known: memory gives them while this one computes.
    pub(super) ahead: [&'s [f16]; 2],
}

impl<F: Fn(usize) -> Option<Range<usize>>> Kernel for Step<'_, '_, F> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Self { keys, values, d, .. } = self;
        if const { S::READS_F16 }
            && d == self.state.padded
            && let (Vectors::F16(k), Vectors::F16(v)) = (keys, values)
        {
            return self.against(s, k, v);
        }
        let (k, v) = (mem::take(&mut self.state.keys), mem::take(&mut self.state.values));
        widen(s, keys, d, self.state.padded, k);
        widen(s, values, d, self.state.padded, v);
        self.against(s, &*k, &*v);
        (self.state.keys, self.state.values) = (k, v);
    }
}

impl<F: Fn(usize) -> Option<Range<usize>>> Step<'_, '_, F> {
    /// All queries against the keys that they see.
    #[inline(always)]
    fn against<S: Simd, E: Element>(&mut self, s: S, k: &[E], v: &[E]) {
        let (n, rows, group) = (self.n, self.rows.clone(), self.group);
        // Rows see a window that only moves on, so if the first and the last see all keys, the others do.
        let all = Some(0..n);
        let full = (self.visible)(rows.start) == all && (self.visible)(rows.end - 1) == all;
        for i in 0..if full { 1 } else { rows.len() } {
            let (queries, keys) = match (full, (self.visible)(rows.start + i)) {
                (true, _) => (0..rows.len() * group, 0..n),
                // What a row does not see is not even multiplied by zero: it may be anything, also NaN.
                (_, Some(keys)) => (i * group..(i + 1) * group, keys),
                _ => continue,
            };
            part(s, self.state, [k, v], self.ahead, queries, keys);
        }
    }
}

/// A value of keys and values as they are multiplied.
trait Element: Copy {
    /// Query vectors that go through the keys together. Six with two keys are what sixteen registers hold; where speed
    /// matters less, three, which are sooner compiled.
    const TOGETHER: usize;

    /// # Safety
    /// `from` is readable for `N` values.
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::V;
}

impl Element for f16 {
    const TOGETHER: usize = 6;

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f16) -> S::V {
        // SAFETY: by the contract of this function.
        unsafe { s.load_f16(from) }
    }
}

impl Element for f32 {
    const TOGETHER: usize = 3;

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f32) -> S::V {
        // SAFETY: by the contract of this function.
        unsafe { s.load(from) }
    }
}

/// Asks for the cache lines that begin within `values` of `ahead`, which will be read soon.
#[inline(always)]
fn prefetch<S: Simd>(s: S, ahead: &[f16], values: Range<usize>) {
    if !ahead.is_empty() {
        for line in (values.start.next_multiple_of(32)..values.end).step_by(32) {
            s.prefetch(ahead.as_ptr().wrapping_add(line));
        }
    }
}

/// Query vectors `queries` against the keys `keys` of this step, all of which they see.
#[inline(always)]
fn part<S: Simd, E: Element>(
    s: S,
    state: &mut State<'_>,
    [k, v]: [&[E]; 2],
    ahead: [&[f16]; 2],
    queries: Range<usize>,
    keys: Range<usize>,
) {
    let vectors = keys.start * state.padded..keys.end * state.padded;
    let (k, v) = (&k[vectors.clone()], &v[vectors]);
    let mut i = queries.start;
    while i < queries.end {
        let left = queries.end - i;
        // Even shares: seven are four and three rather than six and one.
        let m = left.div_ceil(left.div_ceil(E::TOGETHER));
        let (queries, n) = (i..i + m, keys.len());
        // Once for all queries.
        let ahead = if i == 0 { ahead } else { [&[][..]; 2] };
        match m {
            1 => together::<S, E, 1, 8>(s, state, [k, v], ahead, queries, n),
            2 => together::<S, E, 2, 4>(s, state, [k, v], ahead, queries, n),
            _ if const { E::TOGETHER == 3 } => together::<S, E, 3, 2>(s, state, [k, v], ahead, queries, n),
            3 => together::<S, E, 3, 2>(s, state, [k, v], ahead, queries, n),
            4 => together::<S, E, 4, 2>(s, state, [k, v], ahead, queries, n),
            5 => together::<S, E, 5, 2>(s, state, [k, v], ahead, queries, n),
            _ => together::<S, E, 6, 2>(s, state, [k, v], ahead, queries, n),
        }
        i += m;
    }
}

/// `Q` query vectors against `n` keys, whose scores are taken for `K` at a time.
#[inline(always)]
fn together<S: Simd, E: Element, const Q: usize, const K: usize>(
    s: S,
    state: &mut State<'_>,
    [k, v]: [&[E]; 2],
    ahead: [&[f16]; 2],
    queries: Range<usize>,
    n: usize,
) {
    let padded = state.padded;
    let vectors = queries.start * padded..queries.end * padded;
    let w = &mut state.weights[queries.start * KEYS..queries.end * KEYS];
    let sums = &mut state.sums[vectors.clone()];
    scores::<S, E, Q, K>(s, &state.queries[vectors], k, padded, n, ahead[0], w);
    for ((j, w), i) in w.chunks_exact_mut(KEYS).enumerate().zip(queries) {
        w[n..].fill(f32::NEG_INFINITY);
        let (largest, total) = (&mut state.largest[i], &mut state.totals[i]);
        softmax(s, w, largest, total, &mut sums[j * padded..(j + 1) * padded]);
    }
    if Q <= 2 && PAD >= 4 * S::N {
        accumulate::<S, E, Q, 4>(s, w, v, padded, n, ahead[1], sums);
    } else {
        accumulate::<S, E, Q, 2>(s, w, v, padded, n, ahead[1], sums);
    }
}

/// `w[j][k] = q[j] · k[k]` for `Q` query vectors and `K` keys at a time, asking for what is in `ahead`.
#[inline(always)]
fn scores<S: Simd, E: Element, const Q: usize, const K: usize>(
    s: S,
    q: &[f32],
    k: &[E],
    padded: usize,
    n: usize,
    ahead: &[f16],
    w: &mut [f32],
) {
    assert!(q.len() == Q * padded && k.len() == n * padded && w.len() == Q * KEYS && 0 < n && n <= KEYS);
    assert!(padded.is_multiple_of(S::N));
    for at in (0..n).step_by(K) {
        prefetch(s, ahead, at * padded..(at + K) * padded);
        // Past the end, the last key goes again.
        let rows: [usize; K] = from_fn(|j| (at + j).min(n - 1) * padded);
        let mut sums = [[s.splat(0.0); K]; Q];
        for i in (0..padded).step_by(S::N) {
            // SAFETY: `i + N <= padded`, and `rows` and row `j` lie inside by the assertion above.
            unsafe {
                let (q, k) = (q.as_ptr().add(i), k.as_ptr().add(i));
                let keys: [S::V; K] = from_fn(|j| E::load(s, k.add(rows[j])));
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

/// `sums[j] += w[j][k] * v[k]` over all keys, for `Q` query vectors, `P` registers of each at a time, asking for what is in
/// `ahead`.
#[inline(always)]
fn accumulate<S: Simd, E: Element, const Q: usize, const P: usize>(
    s: S,
    w: &[f32],
    v: &[E],
    padded: usize,
    n: usize,
    ahead: &[f16],
    sums: &mut [f32],
) {
    assert!(sums.len() == Q * padded && v.len() == n * padded && w.len() == Q * KEYS && n <= KEYS);
    assert!(padded.is_multiple_of(P * S::N));
    for i in (0..padded).step_by(P * S::N) {
        // Not among the multiply-adds, which have no register to spare.
        prefetch(s, ahead, i * n..(i + P * S::N) * n);
        // SAFETY: `i + P * N <= padded`, and rows `j` and `k` lie inside by the assertions above.
        unsafe {
            let (sums, v) = (sums.as_mut_ptr().add(i), v.as_ptr().add(i));
            let mut acc: [[S::V; P]; Q] = from_fn(|j| from_fn(|p| s.load(sums.add(j * padded + p * S::N))));
            for k in 0..n {
                let values: [S::V; P] = from_fn(|p| E::load(s, v.add(k * padded + p * S::N)));
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
            for (from, to) in from.chunks_exact(d).zip(to.chunks_exact_mut(padded)) {
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
