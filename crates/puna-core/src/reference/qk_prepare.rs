//! [`QkPrepare`](crate::ops::QkPrepare), scalar.

use super::rms_norm::inverse_rms;
use crate::ops::{Pairs, Temperature};

/// What is done to each head; see [`QkPrepare`](crate::ops::QkPrepare).
#[derive(Clone, Copy, Debug)]
pub struct HeadPrep<'a> {
    /// Values of one head.
    pub head_dim: usize,
    /// Radians per position of each pair, and which values pair up.
    pub rope: Option<(&'a [f32], Pairs)>,
    /// Epsilon of the weightless norm.
    pub norm_eps: Option<f32>,
    /// Temperature of the queries.
    pub temperature: Option<Temperature>,
}

/// Rows of whole heads, the first at position `pos`, in place.
pub fn qk_prepare(x: &mut [f32], width: usize, pos: u64, prep: &HeadPrep<'_>) {
    for (r, row) in x.chunks_exact_mut(width).enumerate() {
        let p = pos + r as u64;
        for head in row.chunks_exact_mut(prep.head_dim) {
            if let Some((inv_freq, pairs)) = prep.rope {
                rotate(head, p, inv_freq, pairs);
            }
            if let Some(eps) = prep.norm_eps {
                let factor = inverse_rms(head, eps);
                head.iter_mut().for_each(|v| *v *= factor);
            }
            if let Some(t) = prep.temperature {
                let factor = temperature(p, t);
                head.iter_mut().for_each(|v| *v *= factor);
            }
        }
    }
}

/// Turns the pairs of one head by their angles at position `p`. The angle is an F32 product, as in the references.
fn rotate(head: &mut [f32], p: u64, inv_freq: &[f32], pairs: Pairs) {
    let n = inv_freq.len();
    for (j, &freq) in inv_freq.iter().enumerate() {
        let (sin, cos) = libm::sincos(f64::from(p as f32 * freq));
        let (a, b) = match pairs {
            Pairs::Interleaved => (2 * j, 2 * j + 1),
            Pairs::Half => (j, n + j),
        };
        let (x, y) = (f64::from(head[a]), f64::from(head[b]));
        head[a] = (x * cos - y * sin) as f32;
        head[b] = (x * sin + y * cos) as f32;
    }
}

/// `1 + scale * ln(floor((p + 1) / floor_scale) + 1)`.
pub fn temperature(p: u64, t: Temperature) -> f32 {
    let steps = libm::floorf((p as f32 + 1.0) / t.floor_scale);
    libm::log1pf(steps) * t.scale + 1.0
}
