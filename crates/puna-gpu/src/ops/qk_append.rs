//! [`QkPrepare`] and [`KvAppend`] of one row in one dispatch, where the one follows the other and keys and values are in the
//! memory of the prepared heads: as in decode.

use super::kv_append::kernel;
use super::{Ops, distinct};
use crate::buffer::{Operand, Span};
use puna_core::ops::{KvAppend, Pairs, QkPrepare};
use puna_core::reference::temperature;
use puna_core::{DeviceError, Rows};
use puna_shaders::Kernel;

const OP: &str = "KvAppend";

/// Where the keys are among the prepared heads, or after the last if they are none of them; `None` if the two ops cannot be
/// one.
fn first_key(prepare: &QkPrepare, append: &KvAppend<'_>) -> Option<usize> {
    let (x, k, v, head_dim) = (prepare.x, append.k, append.v, prepare.head_dim);
    let one_row = append.k.n_rows == 1 && head_dim == append.kv.head_dim;
    let odd = matches!(kernel(append.kv.elem, head_dim), Kernel::KvAppend { odd: true, .. });
    if !one_row || odd || k.buf != x.buf || v.buf != x.buf || apart(v, x).is_none() {
        return None;
    }
    let last = x.offset + x.width;
    if k.offset >= x.offset && k.offset + k.width == last && (k.offset - x.offset).is_multiple_of(head_dim) {
        return Some((k.offset - x.offset) / head_dim);
    }
    apart(k, x).map(|()| x.width / head_dim)
}

/// Nothing if two rows of a buffer overlap.
fn apart(a: Rows, b: Rows) -> Option<()> {
    (a.offset + a.width <= b.offset || b.offset + b.width <= a.offset).then_some(())
}

impl Ops<'_> {
    /// Replaces the preparation that was recorded last by one that stores the row too, or says that it cannot.
    pub(super) fn append_to_prepared(&mut self, op: &KvAppend<'_>) -> Result<bool, DeviceError> {
        if !self.ctx.tier.shared() {
            // Software drivers have fewer barriers to pay for in two dispatches.
            return Ok(false);
        }
        let Some(prepare) = self.rec.last_prepared() else { return Ok(false) };
        let Some(first_key) = first_key(&prepare, op) else { return Ok(false) };
        let (ctx, kv, head_dim) = (self.ctx, op.kv, prepare.head_dim);
        // One binding for all three.
        let all = [prepare.x, op.k, op.v];
        let from = all.iter().map(|rows| rows.offset).min().unwrap_or(0);
        let to = all.iter().map(|rows| rows.offset + rows.width).max().unwrap_or(0);
        if (to - from) as u64 * 4 > ctx.max_binding - ctx.align {
            return Ok(false);
        }
        let x = self.rows(OP, "rows", &Rows { offset: from, n_rows: 1, width: to - from, ..prepare.x })?;
        let slot = (op.pos - kv.first) as usize;
        let block = self.block(OP, kv, slot / kv.block_tokens)?;
        distinct(OP, &block.buffer, &x.buffer)?;
        let (freqs, freq_base) = self.vector(OP, prepare.rope.map(|r| r.inv_freq))?;
        // The same facts as before: a submit may come between.
        let warmth = prepare.temperature.map_or(1.0, |t| temperature(prepare.pos, t));
        let rows_base = self.rec.upload(ctx, &[(prepare.pos as f32).to_bits(), warmth.to_bits()])?;
        if self.rec.last_prepared().is_none() {
            return Ok(false);
        }
        self.rec.undo();
        let arena = self.rec.arena();
        let (span, base) = Operand::span(&x, ctx, 1);
        let at = |rows: Rows| base + (rows.offset - from) as u32;
        let heads = prepare.x.width / head_dim;
        let params = [
            1,
            heads as u32,
            head_dim as u32,
            at(prepare.x),
            prepare.rope.map_or(0, |r| r.inv_freq.len as u32),
            freq_base,
            prepare.rope.is_some_and(|r| r.pairs == Pairs::Half).into(),
            prepare.norm_eps.is_some().into(),
            prepare.norm_eps.unwrap_or(0.0).to_bits(),
            rows_base,
            first_key as u32,
            kv.n_kv_heads as u32,
            at(op.k),
            at(op.v),
            kv.block_tokens as u32,
            (slot % kv.block_tokens) as u32,
        ];
        let copied = if first_key == heads { 2 } else { 1 } * kv.n_kv_heads;
        let grid = ((heads + copied) as u32, 1);
        let spans = [span, freqs, Span::whole(&arena), Span::whole(&block.buffer)];
        let f16 = kernel(kv.elem, head_dim) == (Kernel::KvAppend { f16: true, odd: false });
        let work = (to - from) as u64;
        self.rec.dispatch(ctx, Kernel::QkAppend { f16 }, &params, &spans, grid, work)?;
        Ok(true)
    }
}
