//! [`AttendAll`]: each group of rows is a part of the dispatch.

use super::attend::Params;
use super::{Ops, chunks};
use crate::buffer::Span;
use puna_core::DeviceError;
use puna_core::ops::AttendAll;
use puna_shaders::Kernel;

impl Ops<'_> {
    pub(super) fn attend_all(&mut self, op: &AttendAll) -> Result<(), DeviceError> {
        const OP: &str = "AttendAll";
        let (ctx, group, width) = (self.ctx, op.group, op.q.width);
        let (q, out) = (self.rows(OP, "queries", &op.q)?, self.rows(OP, "output rows", &op.out)?);
        let (k, v) = (self.rows(OP, "keys", &op.k)?, self.rows(OP, "values", &op.v)?);
        if op.q.is_empty() {
            return Ok(());
        }
        let bytes = (group * width) as u64 * 4;
        let limit = ctx.max_binding - ctx.align;
        if bytes > limit {
            return Err(DeviceError::Range { op: OP, what: "bytes of a group", limit, found: bytes });
        }
        let heads = width / op.head_dim;
        let passes = op.head_dim.div_ceil(Kernel::ATTEND_VALUES);
        let slots = Kernel::ATTEND_QUERIES * Kernel::slices(false, true);
        let chunk = self.row_chunk(2 * group * group * width, &[group * width]).min(65_535 / heads).max(1);
        for (first, n) in chunks(op.q.n_rows / group, chunk) {
            let part = [&q, &out, &k, &v].map(|rows| rows.skip_rows(first * group));
            let [(q, q_base), (out, out_base), (k, k_base), (v, v_base)] =
                part.each_ref().map(|rows| rows.span(ctx, n * group));
            let params = Params {
                queries: group as u32,
                group: 1,
                kv_heads: heads as u32,
                head_dim: op.head_dim as u32,
                width: width as u32,
                passes: passes as u32,
                q_base,
                out_base,
                part_stride: (group * width) as u32,
                parts: n as u32,
                scale: op.scale,
                finish: true,
                rows: group as u32,
                k_base,
                v_base,
                ..Params::default()
            };
            let spans = [q, out, Span::whole(&ctx.unused), k, v];
            let grid = ((group.div_ceil(slots) * passes) as u32, (heads * n) as u32);
            let work = (2 * n * group * group * width) as u64;
            self.rec.dispatch(ctx, Kernel::AttendAll, &params.words(), &spans, grid, work)?;
        }
        Ok(())
    }
}
