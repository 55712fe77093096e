//! [`KvAppend`]: one dispatch for each block that gets rows.

use super::{Ops, distinct};
use crate::buffer::{Span, Stored};
use puna_core::ops::KvAppend;
use puna_core::{DeviceError, Elem, KvView};
use puna_shaders::Kernel;

/// The kernel for a cache.
pub(crate) fn kernel(elem: Elem, head_dim: usize) -> Kernel {
    let f16 = elem == Elem::F16;
    Kernel::KvAppend { f16, odd: f16 && !head_dim.is_multiple_of(2) }
}

impl<'a> Ops<'a> {
    /// Block `b` of a cache, which fits into a binding.
    pub(super) fn block(
        &self,
        op: &'static str,
        kv: &KvView<'_>,
        b: usize,
    ) -> Result<&'a Stored, DeviceError> {
        let stored = kv.blocks.get(b).and_then(|buf| self.buffers.get(buf.0 as usize));
        match stored {
            Some(Some(block))
                if block.elem == kv.elem && kv.elem != Elem::U32 && block.len >= kv.block_len() =>
            {
                let (limit, found) = (self.ctx.max_binding, block.buffer.raw.size());
                if found > limit {
                    return Err(DeviceError::Range { op, what: "bytes of a key/value block", limit, found });
                }
                Ok(block)
            }
            _ => Err(DeviceError::Handle { op, what: "key/value block" }),
        }
    }

    pub(super) fn kv_append(&mut self, op: &KvAppend<'_>) -> Result<(), DeviceError> {
        const OP: &str = "KvAppend";
        let (kv, n) = (op.kv, op.k.n_rows);
        let (k, v) = (self.rows(OP, "keys", &op.k)?, self.rows(OP, "values", &op.v)?);
        if n == 1 && self.append_to_prepared(op)? {
            return Ok(());
        }
        let kernel = kernel(kv.elem, kv.head_dim);
        let step = if kernel == (Kernel::KvAppend { f16: true, odd: false }) { 2 } else { 1 };
        let mut row = 0;
        while row < n {
            let slot = (op.pos - kv.first) as usize + row;
            let (b, slot) = (slot / kv.block_tokens, slot % kv.block_tokens);
            let count = (n - row).min(kv.block_tokens - slot).min(self.row_chunk(1, &[op.k.width]));
            let block = self.block(OP, kv, b)?;
            distinct(OP, &block.buffer, &k.buffer)?;
            distinct(OP, &block.buffer, &v.buffer)?;
            let (k, v) = (k.skip_rows(row), v.skip_rows(row));
            let ((k, k_base), (v, v_base)) = (k.span(self.ctx, count), v.span(self.ctx, count));
            let params = [
                count as u32,
                slot as u32,
                op.k.width as u32,
                kv.head_dim as u32,
                kv.block_tokens as u32,
                k_base,
                v_base,
            ];
            let grid = (op.k.width.div_ceil(step).div_ceil(64) as u32, count as u32);
            let (spans, work) = ([k, v, Span::whole(&block.buffer)], (count * op.k.width) as u64);
            self.rec.dispatch(self.ctx, kernel, &params, &spans, grid, work)?;
            row += count;
        }
        Ok(())
    }
}
