//! [`LayerNorm`](crate::ops::LayerNorm), scalar.

/// One or more rows of `weight.len()` values each.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let n = weight.len().max(1);
    for (x, out) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / n as f64;
        let variance =
            x.iter().map(|&v| (f64::from(v) - mean) * (f64::from(v) - mean)).sum::<f64>() / n as f64;
        let factor = 1.0 / libm::sqrt(variance + f64::from(eps));
        for (i, (out, &x)) in out.iter_mut().zip(x).enumerate() {
            *out = ((f64::from(x) - mean) * factor * f64::from(weight[i]) + f64::from(bias[i])) as f32;
        }
    }
}
