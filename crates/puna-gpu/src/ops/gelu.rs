//! [`Gelu`].

use super::{Ops, chunks};
use puna_core::DeviceError;
use puna_core::ops::Gelu;
use puna_shaders::Kernel;

impl Ops<'_> {
    pub(super) fn gelu(&mut self, op: &Gelu) -> Result<(), DeviceError> {
        let (x, width) = (self.rows("Gelu", "rows", &op.x)?, op.x.width);
        for (first, n) in chunks(op.x.n_rows, self.row_chunk(width, &[width])) {
            let x = x.skip_rows(first);
            let (x, x_base) = x.span(self.ctx, n);
            let len = n * width;
            // A grid ends at 65,535 in each direction.
            let span = len.clamp(1, 32_768 * 64);
            let params = [len as u32, x_base, span as u32];
            let grid = (span.div_ceil(64) as u32, len.div_ceil(span) as u32);
            self.rec.dispatch(self.ctx, Kernel::Gelu, &params, &[x], grid, len as u64)?;
        }
        Ok(())
    }
}
