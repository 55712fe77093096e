//! [`EmbedRows`].

use super::{Ops, aligned, chunks, format};
use crate::buffer::Span;
use puna_core::DeviceError;
use puna_core::ops::EmbedRows;
use puna_shaders::Kernel;

impl Ops<'_> {
    pub(super) fn embed_rows(&mut self, op: &EmbedRows<'_>) -> Result<(), DeviceError> {
        const OP: &str = "EmbedRows";
        let (out, table) = (self.rows(OP, "output rows", &op.out)?, op.table);
        let format = format(OP, table.dtype)?;
        let (scale, scale_base) = self.vector(OP, table.scale)?;
        let (ctx, width) = (self.ctx, table.n_in);
        let chunk = self.row_chunk(width, &[width]).min(self.rec.data_words());
        for window in self.weight(OP, table.weight)?.windows(ctx, OP, table) {
            let window = window?;
            let held = window.first..window.first + window.rows;
            for (first, n) in chunks(op.tokens.len(), chunk) {
                let tokens = &op.tokens[first..first + n];
                if !tokens.iter().any(|&t| held.contains(&(t as usize))) {
                    continue;
                }
                let out = out.from_row(first);
                let (out, out_base) = out.span(ctx, n);
                let tokens_base = self.rec.upload(ctx, tokens)?;
                let arena = self.rec.arena();
                let params = [
                    width as u32,
                    out_base,
                    window.first as u32,
                    window.rows as u32,
                    window.base,
                    table.stride as u32,
                    if table.scale.is_some() { scale_base + window.first as u32 } else { scale_base },
                    tokens_base,
                ];
                let kernel = Kernel::EmbedRows { format, aligned: aligned(format, window.base, table) };
                let spans = [window.span, Span::whole(&arena), out, scale];
                let grid = (width.div_ceil(8).div_ceil(64) as u32, n as u32);
                self.rec.dispatch(ctx, kernel, &params, &spans, grid, (n * width) as u64)?;
            }
        }
        Ok(())
    }
}
