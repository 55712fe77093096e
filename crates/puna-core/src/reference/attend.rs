//! [`Attend`](crate::ops::Attend), scalar.

use super::kv_append::at;
use crate::ops::Window;
use alloc::vec;
use alloc::vec::Vec;

/// Attention of one query head over positions `window.start(p) ..= p`.
///
/// `load(part, position, i)` gives value `i` of the head's key (`part` 0) or value (`part` 1) at a position.
pub fn attend(
    q: &[f32],
    p: u64,
    scale: f32,
    window: Window,
    load: impl Fn(usize, u64, usize) -> f32,
    out: &mut [f32],
) {
    let first = window.start(p);
    let dot =
        |k: u64| q.iter().enumerate().map(|(i, &q)| f64::from(q) * f64::from(load(0, k, i))).sum::<f64>();
    let scores: Vec<f64> = (first..=p).map(|k| dot(k) * f64::from(scale)).collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sums = vec![0.0f64; out.len()];
    let mut total = 0.0;
    for (k, score) in (first..).zip(scores) {
        let weight = libm::exp(score - max);
        total += weight;
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum += weight * f64::from(load(1, k, i));
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = (sum / total) as f32;
    }
}

/// Block number and element index of value `i` of a head at a position of the cache that starts at `first`.
/// `dims` is `(n_kv_heads, block_tokens, head_dim)`.
pub(super) fn locate(
    part: usize,
    head: usize,
    k: u64,
    first: u64,
    i: usize,
    dims: (usize, usize, usize),
) -> (usize, usize) {
    let slot = (k - first) as usize;
    (slot / dims.1, at(part, head, slot % dims.1, dims) + i)
}
