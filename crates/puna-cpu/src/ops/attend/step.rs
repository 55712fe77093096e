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
//! ahead 65 to 71, three 71 to 72. With thirty query vectors, which could share what was made F32 once, the two ways take
//! the same.
//!
//! What the op lacked to the loop by itself was not memory: with all keys in the L1 cache it was as slow. Beside a busy
//! sibling multiply-adds alone keep their speed and these loops lose a third, so instructions seem to bound them. Loops
//! by themselves in the L1 cache, medians of 31 to 41 rounds of one build after the other, the least in brackets:
//!
//! | | scores | weights | sums |
//! |---|---|---|---|
//! | any size of head, queries loaded once for two keys | 24 (16) | 8 (6) | 25 (16) |
//! | a size that is known, two of five queries also as operands from memory | 21 (16) | 8 (7) | 22 (18) |
//! | weights of all queries in one pass, values four keys at a time | 19 (14) | 7 (6) | 19 (14) |
//!
//! Keys and values of a step asked for during the step before took 66 from memory; values while the scores of the same step
//! are taken, and keys while values are summed, 56 to 59; nothing asked for 108 to 119. Steps of 32 keys: 43 in place of 46
//! from the L1 cache, 67 to 79 in place of 64 to 73 from L3. The whole against the one before it, in turns, over 32,768
//! positions: 82 and 91 ns where it was 89 and 99, and a plain read took 49 and 53.

use super::Vectors;
use super::state::{State, finite};
use crate::ops::simd::{Kernel, Simd};
use core::array::from_fn;
use core::hint::black_box;
use core::mem;
use core::ops::Range;
use half::f16;

/// Keys of a step at most. Their vectors stay in the L1 cache with those of the queries and their sums.
pub(super) const KEYS: usize = 16;
/// Vectors are padded with zeros to a multiple of this: two of the widest registers.
pub(super) const PAD: usize = 32;
/// Floats of the widest register.
pub(super) const WIDEST: usize = 16;
/// How far a score may exceed the one that weights are relative to. Weights stay below `exp(8)`, whose sums F32 holds as
/// well as those of smaller ones, and what was summed is next to never scaled anew.
const MARGIN: f32 = 8.0;

/// Consecutive keys and values of one head against the query vectors of a tile, step by step. See the module.
/// `visible` says which of the keys a row sees.
pub(super) struct Run<'s, 'a, F> {
    pub(super) state: &'s mut State<'a>,
    pub(super) keys: Vectors<'s>,
    pub(super) values: Vectors<'s>,
    /// Keys of `d` values each.
    pub(super) n: usize,
    pub(super) d: usize,
    /// Rows of the tile, `group` query vectors each.
    pub(super) rows: Range<usize>,
    pub(super) group: usize,
    pub(super) visible: F,
    /// Keys that follow, if they are known: memory gives them while the last step computes.
    pub(super) ahead: &'s [f16],
}

impl<F: Fn(usize) -> Option<Range<usize>>> Kernel for Run<'_, '_, F> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Self { keys, values, n, d, .. } = self;
        let padded = self.state.padded;
        for start in (0..n).step_by(KEYS) {
            let step = start..n.min(start + KEYS);
            let vectors = step.start * d..step.end * d;
            if const { S::READS_F16 }
                && d == padded
                && let (Vectors::F16(k), Vectors::F16(v)) = (keys, values)
            {
                let next = if step.end < n { &k[step.end * d..] } else { self.ahead };
                let (k, v) = (&k[vectors.clone()], &v[vectors]);
                self.against(s, [k, v], [v, next], &step);
                continue;
            }
            let (k, v) = (mem::take(&mut self.state.keys), mem::take(&mut self.state.values));
            widen(s, keys.part(&vectors), d, padded, k);
            widen(s, values.part(&vectors), d, padded, v);
            self.against(s, [&*k, &*v], [&[]; 2], &step);
            (self.state.keys, self.state.values) = (k, v);
        }
    }
}

impl<F: Fn(usize) -> Option<Range<usize>>> Run<'_, '_, F> {
    /// All queries against the keys of `step` that they see. `soon` is what to ask memory for while scores are taken and
    /// while values are summed.
    #[inline(always)]
    fn against<S: Simd, E: Element>(&mut self, s: S, kv: [&[E]; 2], soon: [&[f16]; 2], step: &Range<usize>) {
        let (rows, group) = (self.rows.clone(), self.group);
        let seen = |row: usize| {
            let keys = (self.visible)(row)?;
            let keys = keys.start.max(step.start)..keys.end.min(step.end);
            (!keys.is_empty()).then(|| keys.start - step.start..keys.end - step.start)
        };
        // Rows see a window that only moves on, so if the first and the last see all keys, the others do.
        let all = Some(0..step.len());
        let full = seen(rows.start) == all && seen(rows.end - 1) == all;
        for i in 0..if full { 1 } else { rows.len() } {
            let (queries, keys) = match (full, seen(rows.start + i)) {
                (true, _) => (0..rows.len() * group, 0..step.len()),
                // What a row does not see is not even multiplied by zero: it may be anything, also NaN.
                (_, Some(keys)) => (i * group..(i + 1) * group, keys),
                _ => continue,
            };
            if const { E::TOGETHER == TOGETHER } && self.state.padded == COMMON {
                part::<S, E, COMMON>(s, self.state, kv, soon, queries, keys);
            } else {
                part::<S, E, 0>(s, self.state, kv, soon, queries, keys);
            }
        }
    }
}

/// A value of keys and values as they are multiplied.
trait Element: Copy {
    /// Query vectors that go through the keys together, at most [`TOGETHER`]. Where speed matters less, three, which are
    /// sooner compiled.
    const TOGETHER: usize;

    /// # Safety
    /// `from` is readable for `N` values.
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::V;
}

/// The size of Llama 4's heads. A loop whose bounds are known is cheaper.
const COMMON: usize = 128;
/// Query vectors that are loaded once for two keys. Those after them are loaded as they are multiplied.
const READ_ONCE: usize = 3;
/// Six query vectors with two keys are what sixteen registers hold.
pub(super) const TOGETHER: usize = 6;

impl Element for f16 {
    const TOGETHER: usize = TOGETHER;

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

/// Asks for the cache lines of `n` values from value `from` of `soon` on.
#[inline(always)]
fn prefetch<S: Simd>(s: S, soon: &[f16], from: usize, n: usize) {
    if !soon.is_empty() {
        for line in 0..n.div_ceil(32) {
            s.prefetch(soon.as_ptr().wrapping_add(from + 32 * line));
        }
    }
}

/// Query vectors `queries` against the keys `keys` of this step, all of which they see.
#[inline(always)]
fn part<S: Simd, E: Element, const D: usize>(
    s: S,
    state: &mut State<'_>,
    [k, v]: [&[E]; 2],
    soon: [&[f16]; 2],
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
        let soon = if i == 0 { soon } else { [&[][..]; 2] };
        match m {
            1 => together::<S, E, D, 1, 8>(s, state, [k, v], soon, queries, n),
            2 => together::<S, E, D, 2, 4>(s, state, [k, v], soon, queries, n),
            _ if const { E::TOGETHER == 3 } => together::<S, E, D, 3, 2>(s, state, [k, v], soon, queries, n),
            3 => together::<S, E, D, 3, 2>(s, state, [k, v], soon, queries, n),
            4 => together::<S, E, D, 4, 2>(s, state, [k, v], soon, queries, n),
            5 => together::<S, E, D, 5, 2>(s, state, [k, v], soon, queries, n),
            _ => together::<S, E, D, 6, 2>(s, state, [k, v], soon, queries, n),
        }
        i += m;
    }
}

/// `Q` query vectors against `n` keys, `K` of which are multiplied at a time.
#[inline(always)]
fn together<S: Simd, E: Element, const D: usize, const Q: usize, const K: usize>(
    s: S,
    state: &mut State<'_>,
    [k, v]: [&[E]; 2],
    soon: [&[f16]; 2],
    queries: Range<usize>,
    n: usize,
) {
    let padded = if D > 0 { D } else { state.padded };
    let vectors = queries.start * padded..queries.end * padded;
    let w = &mut state.weights[queries.start * KEYS..queries.end * KEYS];
    let sums = &mut state.sums[vectors.clone()];
    let products = &mut state.products[..Q * KEYS * S::N];
    multiply::<S, E, Q, K>(s, &state.queries[vectors], k, padded, n, soon[0], products);
    for (j, i) in queries.clone().enumerate() {
        let w = &mut w[j * KEYS..(j + 1) * KEYS];
        let largest = score(s, &products[j * KEYS * S::N..(j + 1) * KEYS * S::N], n, w);
        if largest > state.base[i] + MARGIN {
            let factor = libm::expf(state.base[i] - largest);
            let totals = &mut state.totals[i * WIDEST..(i + 1) * WIDEST];
            totals.iter_mut().chain(&mut sums[j * padded..(j + 1) * padded]).for_each(|v| *v *= factor);
            state.base[i] = largest;
        }
    }
    weigh(
        s,
        w,
        &state.base[queries.clone()],
        &mut state.totals[queries.start * WIDEST..queries.end * WIDEST],
    );
    if Q <= 2 && PAD >= 4 * S::N {
        accumulate::<S, E, Q, 4>(s, w, v, padded, n, soon[1], sums);
    } else {
        accumulate::<S, E, Q, 2>(s, w, v, padded, n, soon[1], sums);
    }
}

/// `products[j][k]`, a register, sums to `q[j] · k[k]`, for `Q` query vectors and `K` keys at a time. Asks for what is in
/// `soon`.
#[inline(always)]
fn multiply<S: Simd, E: Element, const Q: usize, const K: usize>(
    s: S,
    q: &[f32],
    k: &[E],
    padded: usize,
    n: usize,
    soon: &[f16],
    products: &mut [f32],
) {
    assert!(q.len() == Q * padded && k.len() == n * padded && products.len() == Q * KEYS * S::N);
    // The same queries for the compiler to read again as operands of multiply-adds, rather than to keep in a register: half
    // of the loads of the last ones become part of an instruction, and no more than two a cycle are left.
    let again = black_box(q.as_ptr());
    assert!(padded.is_multiple_of(PAD) && 0 < n && n <= KEYS && KEYS.is_multiple_of(K));
    for at in (0..n).step_by(K) {
        prefetch(s, soon, at * padded, K * padded);
        // Past the end, the last key goes again.
        let rows: [usize; K] = from_fn(|j| (at + j).min(n - 1) * padded);
        let mut sums = [[s.splat(0.0); K]; Q];
        for start in (0..padded).step_by(PAD) {
            for i in (start..start + PAD).step_by(S::N) {
                // SAFETY: `i + N <= padded`, and `rows` and row `j` lie inside by the assertion above; `again` is `q`.
                unsafe {
                    let k = k.as_ptr().add(i);
                    let keys: [S::V; K] = from_fn(|j| E::load(s, k.add(rows[j])));
                    for (j, sums) in sums.iter_mut().enumerate() {
                        for (n, (sum, key)) in sums.iter_mut().zip(keys).enumerate() {
                            let q = if j >= READ_ONCE && n == 1 { again } else { q.as_ptr() };
                            *sum = s.fma(s.load(q.add(j * padded + i)), key, *sum);
                        }
                    }
                }
            }
        }
        for (j, sums) in sums.into_iter().enumerate() {
            for (key, sum) in (at..).zip(sums) {
                // SAFETY: `j < Q` and `key < KEYS`, which `n` does not exceed and `K` divides.
                unsafe { s.store(products.as_mut_ptr().add((j * KEYS + key) * S::N), sum) }
            }
        }
    }
}

/// Sums products to `n` scores, and makes infinitely little of the rest. Returns the largest.
#[inline(always)]
fn score<S: Simd>(s: S, products: &[f32], n: usize, w: &mut [f32]) -> f32 {
    assert!(w.len() == KEYS && KEYS.is_multiple_of(S::N) && products.len() == KEYS * S::N);
    for (w, products) in w.chunks_exact_mut(S::N).zip(products.chunks_exact(S::N * S::N)) {
        // SAFETY: a chunk has `N` values, and `N` times as many products.
        unsafe { s.store(w.as_mut_ptr(), s.sums(products.as_ptr())) }
    }
    if n < KEYS {
        w[n..].fill(f32::NEG_INFINITY);
    }
    let mut max = s.splat(f32::NEG_INFINITY);
    for w in w.chunks_exact(S::N) {
        // SAFETY: a chunk has `N` values.
        max = s.max(max, unsafe { s.load(w.as_ptr()) });
    }
    s.largest(max)
}

/// Turns the scores of some query vectors into weights, and adds these to the totals.
#[inline(always)]
fn weigh<S: Simd>(s: S, w: &mut [f32], base: &[f32], totals: &mut [f32]) {
    let of_queries = w.chunks_exact_mut(KEYS).zip(totals.chunks_exact_mut(WIDEST));
    for ((w, totals), base) in of_queries.zip(base) {
        let minus = s.splat(-finite(*base));
        // SAFETY: a chunk has `N` values, and there are `WIDEST` totals, which is not less.
        unsafe {
            let mut total = s.load(totals.as_ptr());
            for w in w.chunks_exact_mut(S::N) {
                let weight = s.exp(s.add(s.load(w.as_ptr()), minus));
                s.store(w.as_mut_ptr(), weight);
                total = s.add(total, weight);
            }
            s.store(totals.as_mut_ptr(), total);
        }
    }
}

/// `sums[j] += w[j][k] * v[k]` over all keys, for `Q` query vectors, `P` registers of each at a time, asking for what is in
/// `soon`.
#[inline(always)]
fn accumulate<S: Simd, E: Element, const Q: usize, const P: usize>(
    s: S,
    w: &[f32],
    v: &[E],
    padded: usize,
    n: usize,
    soon: &[f16],
    sums: &mut [f32],
) {
    assert!(sums.len() == Q * padded && v.len() == n * padded && w.len() == Q * KEYS && n <= KEYS);
    assert!(padded.is_multiple_of(P * S::N));
    for i in (0..padded).step_by(P * S::N) {
        // Not among the multiply-adds, which have no register to spare.
        prefetch(s, soon, i * n, P * S::N * n);
        // SAFETY: `i + P * N <= padded`, and rows `j` and `k` lie inside by the assertions above.
        unsafe {
            let (sums, v) = (sums.as_mut_ptr().add(i), v.as_ptr().add(i));
            let mut acc: [[S::V; P]; Q] = from_fn(|j| from_fn(|p| s.load(sums.add(j * padded + p * S::N))));
            let (w, mut k) = (w.as_ptr(), 0);
            while k + 4 <= n {
                for k in k..k + 4 {
                    add_value::<S, E, Q, P>(s, w.add(k), v.add(k * padded), &mut acc);
                }
                k += 4;
            }
            for k in k..n {
                add_value::<S, E, Q, P>(s, w.add(k), v.add(k * padded), &mut acc);
            }
            for (j, acc) in acc.into_iter().enumerate() {
                for (p, acc) in acc.into_iter().enumerate() {
                    s.store(sums.add(j * padded + p * S::N), acc);
                }
            }
        }
    }
}

/// `acc[j][p] += w[j] * v[p]`.
///
/// # Safety
/// `v` is readable for `P * N` values, and `w` at every `KEYS`th of `Q` places.
#[inline(always)]
unsafe fn add_value<S: Simd, E: Element, const Q: usize, const P: usize>(
    s: S,
    w: *const f32,
    v: *const E,
    acc: &mut [[S::V; P]; Q],
) {
    // SAFETY: by the contract of this function.
    unsafe {
        let values: [S::V; P] = from_fn(|p| E::load(s, v.add(p * S::N)));
        for (j, acc) in acc.iter_mut().enumerate() {
            let weight = s.splat(*w.add(j * KEYS));
            for (acc, value) in acc.iter_mut().zip(values) {
                *acc = s.fma(weight, value, *acc);
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
