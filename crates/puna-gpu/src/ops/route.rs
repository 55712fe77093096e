//! [`Route`]: the router's product, then the choice; in one dispatch for few rows and experts on a GPU.

use super::matmul::FEW_ROWS;
use super::{NONE, Ops, aligned, chunks, distinct, format};
use crate::buffer::{Operand, Span};
use crate::recorder::Scratch;
use crate::tiles::Choice;
use puna_core::ops::Route;
use puna_core::{DeviceError, Layout, Mat};
use puna_shaders::{Kernel, Tier, quant};

const OP: &str = "Route";

/// Whether one workgroup computes a row's logits and chooses: it reads the whole router, which must not be large.
pub(crate) fn at_once(tier: Tier, router: &Mat) -> bool {
    let plain = quant::by_name(router.dtype.name()).is_some_and(|format| format.plain);
    let whole = router.n_in.is_multiple_of(8) && router.layout == Layout::OutIn && router.scale.is_none();
    tier.shared() && plain && whole && router.n_out <= Kernel::ROUTE_EXPERTS
}

impl Ops<'_> {
    pub(super) fn route(&mut self, op: &Route<'_>) -> Result<(), DeviceError> {
        let (n_experts, top_k) = (op.router.n_out, op.picks.top_k);
        let x = self.rows(OP, "input rows", &op.x)?;
        let (ids, scores) = self.picks(OP, &op.picks, op.x.n_rows * top_k)?;
        distinct(OP, &x.buffer, &scores.buffer)?;
        let (ids, scores) =
            (Operand::new(ids.buffer.clone(), top_k), Operand::new(scores.buffer.clone(), top_k));
        if op.x.n_rows < FEW_ROWS && at_once(self.ctx.tier, op.router) && self.one_window(op.router)? {
            return self.route_rows(op, &x, &ids, &scores);
        }
        for (first, n) in chunks(op.x.n_rows, self.row_chunk(n_experts, &[n_experts, top_k])) {
            let logits = Operand::new(self.rec.scratch(self.ctx, Scratch::Gate, n * n_experts)?, n_experts);
            let rows = (&x.skip_rows(first), &logits);
            self.product_in(Choice::default(), OP, rows, n, op.router, None, false)?;
            let (logits, logits_base) = logits.span(self.ctx, n);
            let (ids, scores) = (ids.skip_rows(first), scores.skip_rows(first));
            let ((ids, pick_base), (scores, _)) = (ids.span(self.ctx, n), scores.span(self.ctx, n));
            let params =
                [n as u32, n_experts as u32, top_k as u32, logits_base, pick_base, op.always.unwrap_or(NONE)];
            let grid = (n.div_ceil(64) as u32, 1);
            let spans: [Span<'_>; 3] = [logits, ids, scores];
            self.rec.dispatch(self.ctx, Kernel::TopK, &params, &spans, grid, (n * n_experts) as u64)?;
        }
        Ok(())
    }

    /// Whether a matrix fits into one binding.
    fn one_window(&self, mat: &Mat) -> Result<bool, DeviceError> {
        let place = self.weight(OP, mat.weight)?.place(self.ctx, OP, mat, 0)?;
        Ok(place.rows == mat.n_out)
    }

    /// A few rows, a workgroup each.
    fn route_rows(
        &mut self,
        op: &Route<'_>,
        x: &Operand,
        ids: &Operand,
        scores: &Operand,
    ) -> Result<(), DeviceError> {
        let (ctx, router, n) = (self.ctx, op.router, op.x.n_rows);
        if n == 0 {
            return Ok(());
        }
        let weights = self.weight(OP, router.weight)?;
        let place = weights.place(ctx, OP, router, 0)?;
        let window = weights.window(ctx, router, place, place.rows);
        let format = format(OP, router.dtype)?;
        let kernel = Kernel::RouteRow { format, aligned: aligned(format, window.base, router) };
        let ((x, x_base), (ids, pick_base), (scores, _)) =
            (x.span(ctx, n), ids.span(ctx, n), scores.span(ctx, n));
        let params = [
            router.n_in as u32,
            router.n_out as u32,
            op.picks.top_k as u32,
            x_base,
            pick_base,
            op.always.unwrap_or(NONE),
            window.base,
            router.stride as u32,
        ];
        self.loaded(kernel, (window.base, router.stride), (router.n_in, router.n_out), n as u32);
        let work = (n * router.n_in * router.n_out) as u64;
        self.rec.dispatch(ctx, kernel, &params, &[window.span, ids, scores, x], (1, n as u32), work)
    }
}
