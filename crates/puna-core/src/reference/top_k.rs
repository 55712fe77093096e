//! [`TopK`](crate::ops::TopK), scalar.

use alloc::vec::Vec;

/// One row: the `k` largest, their indices, the logarithm of the sum of exponentials, the number of values not finite.
pub fn top_k(x: &[f32], k: usize, out: &mut [f32]) {
    let mut order: Vec<usize> = (0..x.len()).collect();
    // A stable sort: of equal values, the one with the lowest index stays first. Zeros are equal whatever their sign.
    order.sort_by(|&a, &b| x[b].partial_cmp(&x[a]).unwrap_or(core::cmp::Ordering::Equal));
    for (j, &i) in order.iter().take(k).enumerate() {
        out[j] = x[i];
        out[k + j] = i as f32;
    }
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = x.iter().map(|&v| libm::exp(f64::from(v) - f64::from(max))).sum();
    out[2 * k] = (f64::from(max) + libm::log(sum)) as f32;
    out[2 * k + 1] = x.iter().filter(|v| !v.is_finite()).count() as f32;
}
