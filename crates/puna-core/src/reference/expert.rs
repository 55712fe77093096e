//! [`ExpertFfn`](crate::ops::ExpertFfn), scalar.

use super::{MatData, matmul, swiglu};
use crate::quant::QuantError;
use alloc::vec;
use alloc::vec::Vec;

/// Adds the outputs of the chosen experts to `out`. `experts[e]` holds gate, up and down of expert `e`.
pub fn expert_ffn(
    x: &[f32],
    hidden: usize,
    experts: &[[MatData<'_>; 3]],
    top_k: usize,
    ids: &[u32],
    scores: &[f32],
    out: &mut [f32],
) -> Result<(), QuantError> {
    for (pick, (&id, &score)) in ids.iter().zip(scores).enumerate() {
        let Some([gate, up, down]) = experts.get(id as usize) else {
            continue;
        };
        let row = (pick / top_k) * hidden..(pick / top_k + 1) * hidden;
        let scaled: Vec<f32> = x[row.clone()].iter().map(|v| v * score).collect();
        let mut inner = vec![0.0; gate.mat.n_out];
        swiglu(&scaled, gate, up, &mut inner)?;
        matmul(&inner, down, None, &mut out[row], true)?;
    }
    Ok(())
}
