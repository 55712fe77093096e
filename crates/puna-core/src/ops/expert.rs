//! The routed experts of a mixture-of-experts layer.

use super::{check_mat, distinct, expect, route::Picks};
use crate::{DeviceError, Expert, Rows};

/// `out[r] += sum over the chosen experts e of down_e(silu(gate_e(s·x[r])) * up_e(s·x[r]))`, with `s` the score of `e`.
///
/// The score scales the expert's *input* (SwiGLU is not linear, so scaling the output would differ), and a device that
/// quantises activations quantises them after the scaling. Source: `Llama4TextMoe` in Hugging Face transformers.
#[derive(Clone, Debug)]
pub struct ExpertFfn<'a> {
    /// `[n, hidden]`.
    pub x: Rows,
    /// All experts of the layer.
    pub experts: &'a [Expert],
    /// The choices of [`Route`](super::Route) for the same rows.
    pub picks: Picks,
    /// `[n, hidden]`, added to.
    pub out: Rows,
}

impl ExpertFfn<'_> {
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        const OP: &str = "ExpertFfn";
        distinct(OP, self.x, self.out)?;
        expect(OP, "output rows", self.out.n_rows, self.x.n_rows)?;
        expect(OP, "output width", self.out.width, self.x.width)?;
        let Some(first) = self.experts.first() else {
            return Err(DeviceError::Range {
                op: OP,
                what: "top_k",
                limit: 1,
                found: self.picks.top_k as u64,
            });
        };
        for expert in self.experts {
            for mat in [&expert.gate, &expert.up, &expert.down] {
                check_mat(OP, mat)?;
            }
            expect(OP, "gate inputs", expert.gate.n_in, self.x.width)?;
            expect(OP, "up inputs", expert.up.n_in, self.x.width)?;
            expect(OP, "gate outputs", expert.gate.n_out, first.gate.n_out)?;
            expect(OP, "up outputs", expert.up.n_out, first.gate.n_out)?;
            expect(OP, "down inputs", expert.down.n_in, first.gate.n_out)?;
            expect(OP, "down outputs", expert.down.n_out, self.out.width)?;
        }
        Ok(())
    }
}
