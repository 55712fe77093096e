//! [`RmsNorm`].

use super::windowed::rows_in_window;
use super::{LONG_ROW, Ops, chunks};
use crate::buffer::{Operand, Span};
use puna_core::DeviceError;
use puna_core::ops::RmsNorm;
use puna_shaders::Kernel;

const OP: &str = "RmsNorm";

/// The kernel for rows of so many values, on a device with windows of uniforms at multiples of `align` or none.
pub(crate) fn kernel(width: usize, align: Option<u64>) -> Kernel {
    match align
        .is_some_and(|align| width.is_multiple_of(4) && rows_in_window(4 * width, 4 * width, align) > 0)
    {
        true => Kernel::RmsNormLanes,
        false => Kernel::RmsNorm { wide: width >= LONG_ROW },
    }
}

impl Ops<'_> {
    pub(super) fn rms_norm(&mut self, op: &RmsNorm) -> Result<(), DeviceError> {
        let (x, out) = (self.rows(OP, "input rows", &op.x)?, self.rows(OP, "output rows", &op.out)?);
        let width = op.x.width;
        if self.norm_in_windows(op, &x, &out)? {
            return Ok(());
        }
        let (weight, weight_base) = self.vector(OP, Some(op.weight))?;
        let kernel = kernel(width, None);
        for (first, n) in chunks(op.x.n_rows, self.row_chunk(width, &[width])) {
            let (x, out) = (x.skip_rows(first), out.skip_rows(first));
            let ((x, x_base), (out, out_base)) = (x.span(self.ctx, n), out.span(self.ctx, n));
            let params = [width as u32, x_base, out_base, weight_base, op.eps.to_bits()];
            let work = (n * width) as u64;
            self.rec.dispatch(self.ctx, kernel, &params, &[x, weight, out], (1, n as u32), work)?;
        }
        Ok(())
    }

    /// The same with rows and weights as uniforms, if the device reads those and they fit; otherwise nothing is done.
    fn norm_in_windows(&mut self, op: &RmsNorm, x: &Operand, out: &Operand) -> Result<bool, DeviceError> {
        let (ctx, width) = (self.ctx, op.x.width);
        let weight = self.weight(OP, op.weight.weight)?.uniform_vector(ctx, op.weight);
        let (Some(align), Some((weight, weight_base))) = (ctx.windows(), weight) else { return Ok(false) };
        let kernel = kernel(width, Some(align));
        let even = x.offset.is_multiple_of(4) && weight_base.is_multiple_of(16);
        if !even || width == 0 || kernel != Kernel::RmsNormLanes {
            return Ok(false);
        }
        let most = rows_in_window(4 * width, 4 * width, align);
        let mut parts = Vec::new();
        for (first, n) in chunks(op.x.n_rows, most) {
            let at = (x.offset + first * width) as u64 * 4;
            match Span::window(&x.buffer, at, at + (4 * n * width) as u64, align) {
                Some((span, base)) => parts.push((first, n, span, base)),
                None => return Ok(false),
            }
        }
        for (first, n, x, x_base) in parts {
            let out = out.skip_rows(first);
            let (out, out_base) = out.span(ctx, n);
            let params = [width as u32, x_base / 16, out_base, weight_base / 16, op.eps.to_bits()];
            let spans = [x, weight, out];
            let work = (n * width) as u64;
            self.rec.dispatch(ctx, kernel, &params, &spans, (1, n as u32), work)?;
        }
        Ok(true)
    }
}
