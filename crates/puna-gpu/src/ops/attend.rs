//! [`Attend`]: one dispatch for each block of keys and values that a row can see.

use super::{Ops, chunks, distinct};
use crate::buffer::Span;
use crate::recorder::Scratch;
use puna_core::ops::{Attend, Window};
use puna_core::{DeviceError, Elem};
use puna_shaders::Kernel;

impl Ops<'_> {
    pub(super) fn attend(&mut self, op: &Attend<'_>) -> Result<(), DeviceError> {
        const OP: &str = "Attend";
        let (ctx, kv) = (self.ctx, op.kv);
        let (q, out) = (self.rows(OP, "queries", &op.q)?, self.rows(OP, "output rows", &op.out)?);
        let heads = op.q.width / kv.head_dim.max(1);
        let kernel = Kernel::Attend { f16: kv.elem == Elem::F16, odd: !kv.head_dim.is_multiple_of(2) };
        let chunk = self.row_chunk(2 * op.q.width * kv.block_tokens, &[op.q.width]);
        for (first, n) in chunks(op.q.n_rows, chunk) {
            let pos = op.pos + first as u64;
            let last = pos + n as u64 - 1;
            // Positions are counted from the start of the first row's window, so that they fit into 31 bits.
            let origin = op.window.start(pos);
            let fits = |p: u64| {
                let limit = origin.saturating_add(i32::MAX as u64);
                let error = DeviceError::Range { op: OP, what: "position", limit, found: p };
                i32::try_from(i128::from(p) - i128::from(origin)).map_err(|_| error)
            };
            fits(last + 1)?;
            let chunk_size = match op.window {
                Window::Full => 0,
                // A chunk that is larger than all positions that fit has no boundary among them.
                Window::Chunk(size) => i32::try_from(size).unwrap_or(0),
            };
            // Earlier blocks are seen by no row.
            let blocks = (origin.saturating_sub(kv.first) as usize) / kv.block_tokens
                ..((last - kv.first) as usize) / kv.block_tokens + 1;
            let state = self.rec.scratch(ctx, Scratch::Attend, n * heads * 2)?;
            let (q, out) = (q.from_row(first), out.from_row(first));
            let ((q, q_base), (out_span, out_base)) = (q.span(ctx, n), out.span(ctx, n));
            for b in blocks.clone() {
                let block = self.block(OP, kv, b)?;
                distinct(OP, &block.buffer, &out.buffer)?;
                let params = [
                    n as u32,
                    heads as u32,
                    (heads / kv.n_kv_heads.max(1)) as u32,
                    kv.n_kv_heads as u32,
                    kv.head_dim as u32,
                    kv.block_tokens as u32,
                    q_base,
                    out_base,
                    op.scale.to_bits(),
                    fits(pos)? as u32,
                    fits(kv.first + (b * kv.block_tokens) as u64)? as u32,
                    chunk_size as u32,
                    (b == blocks.start).into(),
                    (b + 1 == blocks.end).into(),
                ];
                let spans = [q, out_span, Span::whole(&state), Span::whole(&block.buffer)];
                let grid = (heads.div_ceil(32) as u32, n as u32);
                let work = (2 * n * op.q.width * kv.block_tokens) as u64;
                self.rec.dispatch(ctx, kernel, &params, &spans, grid, work)?;
            }
        }
        Ok(())
    }
}
