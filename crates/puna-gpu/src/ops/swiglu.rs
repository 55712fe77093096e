//! [`SwiGlu`]: two products and their combination, in one dispatch where both matrices allow it.

use super::matmul::{Params, meet, shaped, tier_of};
use super::{MAX_SCRATCH, Ops, aligned, chunks, format};
use crate::buffer::Operand;
use crate::recorder::Scratch;
use puna_core::ops::SwiGlu;
use puna_core::{DeviceError, Layout, Mat};
use puna_shaders::{Job, Kernel};

impl Ops<'_> {
    pub(super) fn swiglu(&mut self, op: &SwiGlu<'_>) -> Result<(), DeviceError> {
        const OP: &str = "SwiGlu";
        let (x, out) = (self.rows(OP, "input rows", &op.x)?, self.rows(OP, "output rows", &op.out)?);
        if fusable(op.gate, op.up) {
            return self.gate_up(OP, op.gate, op.up, (&x, &out), op.x.n_rows);
        }
        let width = op.out.width;
        let chunk = self.row_chunk(width, &[width]).min(MAX_SCRATCH / width.max(1)).max(1);
        for (first, n) in chunks(op.x.n_rows, chunk) {
            let (x, out) = (x.skip_rows(first), out.skip_rows(first));
            let up = Operand::new(self.rec.scratch(self.ctx, Scratch::Up, n * width)?, width);
            self.product(OP, &x, n, op.gate, None, &out, false)?;
            self.product(OP, &x, n, op.up, None, &up, false)?;
            self.combine(&out, &up, n)?;
        }
        Ok(())
    }

    /// Both products and their combination at once, by windows that hold the same rows of both matrices.
    fn gate_up(
        &mut self,
        op: &'static str,
        gate: &Mat,
        up: &Mat,
        (x, out): (&Operand, &Operand),
        n_rows: usize,
    ) -> Result<(), DeviceError> {
        let ctx = self.ctx;
        let format = format(op, gate.dtype)?;
        if self.windowed(op, &[gate, up], None, (x, out), n_rows, false)? {
            return Ok(());
        }
        let weights = [self.weight(op, gate.weight)?, self.weight(op, up.weight)?];
        let mut first_out = 0;
        while first_out < gate.n_out {
            let places =
                [weights[0].place(ctx, op, gate, first_out)?, weights[1].place(ctx, op, up, first_out)?];
            let n_out = places[0].rows.min(places[1].rows);
            let [gate_window, up_window] = [
                weights[0].window(ctx, gate, places[0], n_out),
                weights[1].window(ctx, up, places[1], n_out),
            ];
            let aligned = aligned(format, gate_window.base, gate) && aligned(format, up_window.base, up);
            let chunk = self.row_chunk(2 * gate.n_in * n_out, &[gate.n_in, gate.n_out]);
            for (first, n) in chunks(n_rows, chunk) {
                let (x_rows, out) = (x.skip_rows(first), out.skip_rows(first));
                let x_at = x_rows.offset;
                let ((x, x_base), (out, out_base)) = (x_rows.span(ctx, n), out.span(ctx, n));
                let params = Params {
                    rows: n as u32,
                    n_in: gate.n_in as u32,
                    n_out: n_out as u32,
                    x_base,
                    x_stride: gate.n_in as u32,
                    out_base: out_base + first_out as u32,
                    out_stride: gate.n_out as u32,
                    w_base: gate_window.base,
                    w_stride: gate.stride as u32,
                    up_base: up_window.base,
                    up_stride: up.stride as u32,
                    ..Params::default()
                };
                let tier = tier_of(ctx.tier, &[x_at], gate.n_in);
                let (kernel, grid) = shaped(format, aligned, (Job::SwiGlu, tier, ctx.tiles), n, n_out);
                let rounded = self.rounded(kernel, &x_rows, n)?;
                let (x, params) = meet(rounded.as_ref(), x, params);
                let spans = [gate_window.span, x, out, up_window.span];
                let work = 2 * (n * gate.n_in * n_out) as u64;
                for (window, mat) in [(gate_window, gate), (up_window, up)] {
                    self.loaded(kernel, (window.base, mat.stride), (gate.n_in, n_out), grid.1);
                }
                self.rec.dispatch(ctx, kernel, &params.words(), &spans, grid, work)?;
            }
            first_out += n_out;
        }
        Ok(())
    }

    /// `gate = silu(gate) * up`.
    pub(super) fn combine(&mut self, gate: &Operand, up: &Operand, n_rows: usize) -> Result<(), DeviceError> {
        let ((up_span, up_base), (gate_span, gate_base)) =
            (up.span(self.ctx, n_rows), gate.span(self.ctx, n_rows));
        let len = n_rows * gate.width;
        // A grid ends at 65,535 in each direction.
        let span = len.clamp(1, 32_768 * 64);
        let params = [len as u32, up_base, gate_base, span as u32];
        let grid = (span.div_ceil(64) as u32, len.div_ceil(span) as u32);
        self.rec.dispatch(self.ctx, Kernel::Combine, &params, &[up_span, gate_span], grid, len as u64)
    }
}

/// Whether one kernel can multiply by both matrices at once.
pub(crate) fn fusable(gate: &Mat, up: &Mat) -> bool {
    let plain = |mat: &Mat| mat.layout == Layout::OutIn && mat.scale.is_none();
    plain(gate) && plain(up) && gate.dtype == up.dtype
}
