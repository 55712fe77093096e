//! The hash from which weights and prompts are made, here and in `tests/goldens/models.py`.

/// A mixing of 32 bits (Wellons, "lowbias32").
pub fn hash(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// Element `k` of sequence `t`.
pub fn element(t: u32, k: u32) -> u32 {
    hash(t.wrapping_mul(1_000_003).wrapping_add(k))
}

/// `n` values between `offset - scale` and `offset + scale`: tensor number `t` in row-major order.
pub fn weights(t: u32, n: usize, scale: f64, offset: f64) -> Vec<f32> {
    let value = |k| ((f64::from(element(t, k)) / 4_294_967_296.0 - 0.5) * 2.0 * scale + offset) as f32;
    (0..n as u32).map(value).collect()
}

/// `n` token ids below `vocab`: prompt number `t`.
pub fn tokens(t: u32, n: usize, vocab: u32) -> Vec<u32> {
    (0..n as u32).map(|i| element(t, i) % vocab).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // Computed with NumPy.
        let close = |found: Vec<f32>, expected: [f32; 3]| {
            assert!(
                found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-6),
                "{found:?}, expected {expected:?}"
            );
        };
        close(weights(0, 3, 1.0, 0.0), [-1.0, -0.183302, 0.633396]);
        close(weights(1, 3, 0.2, 1.0), [1.116869, 0.864011, 0.917760]);
        close(weights(44, 3, 0.4, 0.0), [-0.270584, -0.108465, -0.090529]);
    }
}
