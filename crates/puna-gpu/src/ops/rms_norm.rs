//! [`RmsNorm`].

use super::{LONG_ROW, Ops, chunks};
use puna_core::DeviceError;
use puna_core::ops::RmsNorm;
use puna_shaders::Kernel;

/// The kernel for rows of so many values.
pub(crate) fn kernel(width: usize) -> Kernel {
    Kernel::RmsNorm { wide: width >= LONG_ROW }
}

impl Ops<'_> {
    pub(super) fn rms_norm(&mut self, op: &RmsNorm) -> Result<(), DeviceError> {
        const OP: &str = "RmsNorm";
        let (x, out) = (self.rows(OP, "input rows", &op.x)?, self.rows(OP, "output rows", &op.out)?);
        let (weight, weight_base) = self.vector(OP, Some(op.weight))?;
        let width = op.x.width;
        let kernel = kernel(width);
        for (first, n) in chunks(op.x.n_rows, self.row_chunk(width, &[width])) {
            let (x, out) = (x.skip_rows(first), out.skip_rows(first));
            let ((x, x_base), (out, out_base)) = (x.span(self.ctx, n), out.span(self.ctx, n));
            let params = [width as u32, x_base, out_base, weight_base, op.eps.to_bits()];
            let work = (n * width) as u64;
            self.rec.dispatch(self.ctx, kernel, &params, &[x, weight, out], (1, n as u32), work)?;
        }
        Ok(())
    }
}
