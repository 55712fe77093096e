//! [`QkPrepare`].

use super::{Ops, chunks};
use crate::buffer::Span;
use puna_core::DeviceError;
use puna_core::ops::{Pairs, QkPrepare};
use puna_core::reference::temperature;
use puna_shaders::{Kernel, Tier};

/// The kernel of a tier.
pub(crate) fn kernel(tier: Tier) -> Kernel {
    Kernel::QkPrepare { eight: tier == Tier::Lanes }
}

impl Ops<'_> {
    pub(super) fn qk_prepare(&mut self, op: &QkPrepare) -> Result<(), DeviceError> {
        const OP: &str = "QkPrepare";
        let x = self.rows(OP, "rows", &op.x)?;
        let (ctx, width, heads) = (self.ctx, op.x.width, op.x.width / op.head_dim.max(1));
        let (freqs, freq_base) = self.vector(OP, op.rope.map(|r| r.inv_freq))?;
        let chunk = self.row_chunk(width, &[width]).min(self.rec.data_words() / 2);
        for (first, n) in chunks(op.x.n_rows, chunk) {
            let facts: Vec<u32> = (op.pos + first as u64..)
                .take(n)
                .flat_map(|p| [p as f32, op.temperature.map_or(1.0, |t| temperature(p, t))])
                .map(f32::to_bits)
                .collect();
            let rows_base = self.rec.upload(ctx, &facts)?;
            let arena = self.rec.arena();
            let x = x.skip_rows(first);
            let (x, x_base) = x.span(ctx, n);
            let params = [
                n as u32,
                heads as u32,
                op.head_dim as u32,
                x_base,
                op.rope.map_or(0, |r| r.inv_freq.len as u32),
                freq_base,
                op.rope.is_some_and(|r| r.pairs == Pairs::Half).into(),
                op.norm_eps.is_some().into(),
                op.norm_eps.unwrap_or(0.0).to_bits(),
                rows_base,
            ];
            let grid = (heads as u32, n as u32);
            let spans = [x, freqs, Span::whole(&arena)];
            self.rec.dispatch(ctx, kernel(ctx.tier), &params, &spans, grid, (n * width) as u64)?;
        }
        if op.x.n_rows == 1 {
            self.rec.prepared(op);
        }
        Ok(())
    }
}
