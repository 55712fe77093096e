//! [`Gelu`](crate::ops::Gelu), scalar.

use core::f64::consts::FRAC_1_SQRT_2;

/// `0.5 * a * (1 + erf(a / sqrt(2)))`.
pub fn gelu(a: f32) -> f32 {
    let a = f64::from(a);
    // erfc keeps its digits where 1 + erf would cancel.
    (0.5 * a * libm::erfc(-a * FRAC_1_SQRT_2)) as f32
}
