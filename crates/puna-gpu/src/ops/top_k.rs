//! [`TopK`].

use super::{Ops, chunks};
use puna_core::DeviceError;
use puna_core::ops::TopK;
use puna_shaders::Kernel;

impl Ops<'_> {
    pub(super) fn top_k(&mut self, op: &TopK) -> Result<(), DeviceError> {
        const OP: &str = "TopK";
        let (x, out) = (self.rows(OP, "input rows", &op.x)?, self.rows(OP, "output rows", &op.out)?);
        let width = op.x.width;
        for (first, n) in chunks(op.x.n_rows, self.row_chunk(8 * width, &[width, op.out.width])) {
            let (x, out) = (x.skip_rows(first), out.skip_rows(first));
            let ((x, x_base), (out, out_base)) = (x.span(self.ctx, n), out.span(self.ctx, n));
            let params = [width as u32, op.k as u32, x_base, out_base];
            let (grid, work) = ((1, n as u32), (8 * n * width) as u64);
            self.rec.dispatch(self.ctx, Kernel::SampleTopK, &params, &[x, out], grid, work)?;
        }
        Ok(())
    }
}
