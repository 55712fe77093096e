//! [`RmsNorm`](crate::ops::RmsNorm), scalar.

/// One or more rows of `weight.len()` values each.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
        let factor = inverse_rms(x, eps);
        for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
            *out = x * factor * w;
        }
    }
}

/// `1 / sqrt(mean(x²) + eps)`.
pub(super) fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    let sum: f64 = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    (1.0 / libm::sqrt(sum / x.len() as f64 + f64::from(eps))) as f32
}
