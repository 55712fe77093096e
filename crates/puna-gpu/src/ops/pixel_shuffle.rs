//! [`PixelShuffle`].

use super::{MAX_ROWS, Ops, chunks};
use puna_core::DeviceError;
use puna_core::ops::PixelShuffle;
use puna_shaders::Kernel;

impl Ops<'_> {
    pub(super) fn pixel_shuffle(&mut self, op: &PixelShuffle) -> Result<(), DeviceError> {
        const OP: &str = "PixelShuffle";
        let (x, out) = (self.rows(OP, "input rows", &op.x)?, self.rows(OP, "output rows", &op.out)?);
        let (ctx, grid, side) = (self.ctx, op.grid, op.grid / op.factor.max(1));
        let (rows, out_rows) = (grid * grid + 1, side * side);
        if op.out.is_empty() {
            return Ok(());
        }
        let bytes = (rows * op.x.width) as u64 * 4;
        let limit = ctx.max_binding - ctx.align;
        if bytes > limit || out_rows > 65_535 {
            return Err(DeviceError::Range { op: OP, what: "bytes of a tile", limit, found: bytes });
        }
        let chunk = self.row_chunk(rows * op.x.width, &[rows * op.x.width]).min(MAX_ROWS.div_ceil(out_rows));
        for (first, n) in chunks(op.x.n_rows / rows, chunk) {
            let (x, out) = (x.skip_rows(first * rows), out.skip_rows(first * out_rows));
            let ((x, x_base), (out, out_base)) = (x.span(ctx, n * rows), out.span(ctx, n * out_rows));
            let params = [op.x.width as u32, x_base, out_base, grid as u32, op.factor as u32];
            let cells = (op.out.width.div_ceil(64) as u32, (n * out_rows) as u32);
            let work = (n * out_rows * op.out.width) as u64;
            self.rec.dispatch(ctx, Kernel::PixelShuffle, &params, &[x, out], cells, work)?;
        }
        Ok(())
    }
}
