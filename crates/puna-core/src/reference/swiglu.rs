//! [`SwiGlu`](crate::ops::SwiGlu), scalar.

use super::{MatData, matmul};
use crate::quant::QuantError;
use alloc::vec;

/// `a / (1 + exp(-a))`.
pub fn silu(a: f32) -> f32 {
    let a = f64::from(a);
    (a / (1.0 + libm::exp(-a))) as f32
}

/// `out = silu(x gateᵀ) * (x upᵀ)`.
pub fn swiglu(x: &[f32], gate: &MatData<'_>, up: &MatData<'_>, out: &mut [f32]) -> Result<(), QuantError> {
    let mut gated = vec![0.0; out.len()];
    matmul(x, gate, None, &mut gated, false)?;
    matmul(x, up, None, out, false)?;
    for (out, gate) in out.iter_mut().zip(gated) {
        *out *= silu(gate);
    }
    Ok(())
}
