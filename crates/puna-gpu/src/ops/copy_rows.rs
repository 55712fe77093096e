//! [`CopyRows`]: a copy between buffers, or a kernel that adds.

use super::{Ops, chunks};
use puna_core::DeviceError;
use puna_core::ops::CopyRows;
use puna_shaders::Kernel;

impl Ops<'_> {
    pub(super) fn copy_rows(&mut self, op: &CopyRows) -> Result<(), DeviceError> {
        const OP: &str = "CopyRows";
        let (from, to) = (self.rows(OP, "input rows", &op.from)?, self.rows(OP, "output rows", &op.to)?);
        if !op.add {
            let (at, to_at) = (from.offset as u64 * 4, to.offset as u64 * 4);
            self.rec.copy(&from.buffer, at, &to.buffer, to_at, op.from.len() as u64 * 4);
            return Ok(());
        }
        let width = op.from.width;
        for (first, n) in chunks(op.from.n_rows, self.row_chunk(width, &[width])) {
            let (from, to) = (from.skip_rows(first), to.skip_rows(first));
            let ((from, from_base), (to, to_base)) = (from.span(self.ctx, n), to.span(self.ctx, n));
            let len = n * width;
            // A grid ends at 65,535 in each direction.
            let span = len.clamp(1, 32_768 * 64);
            let params = [len as u32, from_base, to_base, span as u32];
            let grid = (span.div_ceil(64) as u32, len.div_ceil(span) as u32);
            self.rec.dispatch(self.ctx, Kernel::Add, &params, &[from, to], grid, len as u64)?;
        }
        Ok(())
    }
}
