//! The dense feed-forward network, which is also the shared expert.

use super::{Llama, blocks, issue};
use crate::Result;
use crate::scratch::{Scratch, inner_rows};
use crate::weights::Dense;
use puna_core::ops::{MatMul, SwiGlu};
use puna_core::{Device, Rows};

impl Llama {
    /// `h += down(silu(gate(y)) * up(y))`, for some rows after others.
    pub(super) fn dense(
        &self,
        device: &mut dyn Device,
        s: &Scratch,
        w: &Dense,
        y: Rows,
        h: Rows,
    ) -> Result<()> {
        for (first, n) in blocks(y.n_rows, inner_rows(w.gate.n_out)) {
            let inner = s.inner(n, w.gate.n_out);
            issue(device, SwiGlu { x: y.slice(first, n), gate: &w.gate, up: &w.up, out: inner })?;
            issue(device, MatMul { x: inner, w: &w.down, bias: None, out: h.slice(first, n), add: true })?;
        }
        Ok(())
    }
}
