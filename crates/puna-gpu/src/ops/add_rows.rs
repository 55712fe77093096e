//! [`AddRows`].

use super::{Ops, chunks};
use puna_core::DeviceError;
use puna_core::ops::AddRows;
use puna_shaders::Kernel;

impl Ops<'_> {
    pub(super) fn add_rows(&mut self, op: &AddRows) -> Result<(), DeviceError> {
        const OP: &str = "AddRows";
        let (x, width) = (self.rows(OP, "rows", &op.x)?, op.x.width);
        let (table, table_base) = self.vector(OP, Some(op.table))?;
        let table_rows = op.table.len / width.max(1);
        for (first, n) in chunks(op.x.n_rows, self.row_chunk(width, &[width])) {
            let x = x.skip_rows(first);
            let (x, x_base) = x.span(self.ctx, n);
            let params = [width as u32, x_base, table_base, table_rows as u32, (first % table_rows) as u32];
            let (grid, work) = ((width.div_ceil(64) as u32, n as u32), (n * width) as u64);
            self.rec.dispatch(self.ctx, Kernel::AddRows, &params, &[x, table], grid, work)?;
        }
        Ok(())
    }
}
