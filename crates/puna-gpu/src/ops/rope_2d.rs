//! [`Rope2d`].

use super::{Ops, chunks};
use puna_core::DeviceError;
use puna_core::ops::Rope2d;
use puna_shaders::Kernel;

impl Ops<'_> {
    pub(super) fn rope_2d(&mut self, op: &Rope2d) -> Result<(), DeviceError> {
        const OP: &str = "Rope2d";
        let (x, width, grid) = (self.rows(OP, "rows", &op.x)?, op.x.width, op.grid);
        let (freqs, freq_base) = self.vector(OP, Some(op.inv_freq))?;
        for (first, n) in chunks(op.x.n_rows, self.row_chunk(width, &[width])) {
            let x = x.skip_rows(first);
            let (x, x_base) = x.span(self.ctx, n);
            let place = first % (grid * grid + 1);
            let pairs = op.inv_freq.len as u32;
            let params = [width as u32, x_base, pairs, freq_base, grid as u32, place as u32];
            let (cells, work) = ((width.div_ceil(128) as u32, n as u32), (n * width) as u64);
            self.rec.dispatch(self.ctx, Kernel::Rope2d, &params, &[x, freqs], cells, work)?;
        }
        Ok(())
    }
}
