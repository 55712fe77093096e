//! [`SwiGlu`]: two products and their combination.

use super::{MAX_SCRATCH, Ops, chunks};
use crate::buffer::Operand;
use crate::recorder::Scratch;
use puna_core::DeviceError;
use puna_core::ops::SwiGlu;
use puna_shaders::Kernel;

impl Ops<'_> {
    pub(super) fn swiglu(&mut self, op: &SwiGlu<'_>) -> Result<(), DeviceError> {
        const OP: &str = "SwiGlu";
        let (x, out) = (self.rows(OP, "input rows", &op.x)?, self.rows(OP, "output rows", &op.out)?);
        let width = op.out.width;
        let chunk = self.row_chunk(width, &[width]).min(MAX_SCRATCH / width.max(1)).max(1);
        for (first, n) in chunks(op.x.n_rows, chunk) {
            let (x, out) = (x.from_row(first), out.from_row(first));
            let up = Operand::new(self.rec.scratch(self.ctx, Scratch::Up, n * width)?, width);
            self.product(OP, &x, n, op.gate, None, &out, false)?;
            self.product(OP, &x, n, op.up, None, &up, false)?;
            self.combine(&out, &up, n)?;
        }
        Ok(())
    }

    /// `gate = silu(gate) * up`.
    pub(super) fn combine(&mut self, gate: &Operand, up: &Operand, n_rows: usize) -> Result<(), DeviceError> {
        let ((up_span, up_base), (gate_span, gate_base)) =
            (up.span(self.ctx, n_rows), gate.span(self.ctx, n_rows));
        let len = n_rows * gate.width;
        // A grid ends at 65,535 in each direction.
        let span = len.min(32_768 * 64).max(1);
        let params = [len as u32, up_base, gate_base, span as u32];
        let grid = (span.div_ceil(64) as u32, len.div_ceil(span) as u32);
        self.rec.dispatch(self.ctx, Kernel::Combine, &params, &[up_span, gate_span], grid, len as u64)
    }
}
