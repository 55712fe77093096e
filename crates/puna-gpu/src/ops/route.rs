//! [`Route`]: the router's product, then the choice.

use super::{Ops, chunks, distinct};
use crate::buffer::{Operand, Span};
use crate::recorder::Scratch;
use puna_core::DeviceError;
use puna_core::ops::Route;
use puna_shaders::Kernel;

impl Ops<'_> {
    pub(super) fn route(&mut self, op: &Route<'_>) -> Result<(), DeviceError> {
        const OP: &str = "Route";
        let (n_experts, top_k) = (op.router.n_out, op.picks.top_k);
        let x = self.rows(OP, "input rows", &op.x)?;
        let (ids, scores) = self.picks(OP, &op.picks, op.x.n_rows * top_k)?;
        distinct(OP, &x.buffer, &scores.buffer)?;
        let (ids, scores) =
            (Operand::new(ids.buffer.clone(), top_k), Operand::new(scores.buffer.clone(), top_k));
        for (first, n) in chunks(op.x.n_rows, self.row_chunk(n_experts, &[n_experts, top_k])) {
            let logits = Operand::new(self.rec.scratch(self.ctx, Scratch::Gate, n * n_experts)?, n_experts);
            self.product(OP, &x.from_row(first), n, op.router, None, &logits, false)?;
            let (logits, logits_base) = logits.span(self.ctx, n);
            let (ids, scores) = (ids.from_row(first), scores.from_row(first));
            let ((ids, pick_base), (scores, _)) = (ids.span(self.ctx, n), scores.span(self.ctx, n));
            let params = [n as u32, n_experts as u32, top_k as u32, logits_base, pick_base];
            let grid = (n.div_ceil(64) as u32, 1);
            let spans: [Span<'_>; 3] = [logits, ids, scores];
            self.rec.dispatch(self.ctx, Kernel::TopK, &params, &spans, grid, (n * n_experts) as u64)?;
        }
        Ok(())
    }
}
