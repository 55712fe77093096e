//! The dense feed-forward network, which is also the shared expert.

use super::{Llama, issue};
use crate::Result;
use crate::scratch::Scratch;
use crate::weights::Dense;
use puna_core::ops::{MatMul, SwiGlu};
use puna_core::{Device, Rows};

impl Llama {
    /// `h += down(silu(gate(y)) * up(y))`.
    pub(super) fn dense(
        &self,
        device: &mut dyn Device,
        s: &Scratch,
        w: &Dense,
        y: Rows,
        h: Rows,
    ) -> Result<()> {
        let inner = s.inner(y.n_rows, w.gate.n_out);
        issue(device, SwiGlu { x: y, gate: &w.gate, up: &w.up, out: inner })?;
        issue(device, MatMul { x: inner, w: &w.down, bias: None, out: h, add: true })
    }
}
