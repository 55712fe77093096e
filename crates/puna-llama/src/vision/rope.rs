//! The frequencies of the tower's two-dimensional rotary embedding.

use super::VisionConfig;
use crate::Result;
use crate::error::with_capacity;
use alloc::vec::Vec;

/// Radians per patch of each pair of one axis: `theta^(-2j / (head_dim / 2))` for `head_dim / 4` pairs.
pub(super) fn inv_freq(config: &VisionConfig) -> Result<Vec<f32>> {
    let n = config.head_dim() / 4;
    let mut freqs = with_capacity(n)?;
    freqs.extend((0..n).map(|j| {
        let exponent = (2 * j) as f32 / (2 * n) as f32;
        1.0 / libm::pow(config.rope_theta, exponent.into()) as f32
    }));
    Ok(freqs)
}
