//! [`MatMul`], and the products that other ops are made of.

use super::{NONE, Ops, aligned, chunks, format};
use crate::buffer::Operand;
use puna_core::ops::MatMul;
use puna_core::{DeviceError, Layout, Mat, Vector};
use puna_shaders::Kernel;

/// The parameters of the kernels that multiply by a matrix, in the order of `matmul/params.wgsl`.
#[derive(Clone, Copy, Default)]
pub(super) struct Params {
    pub(super) rows: u32,
    pub(super) n_in: u32,
    pub(super) n_out: u32,
    pub(super) x_base: u32,
    pub(super) x_stride: u32,
    pub(super) out_base: u32,
    pub(super) out_stride: u32,
    pub(super) w_base: u32,
    pub(super) w_stride: u32,
    pub(super) scale_base: u32,
    pub(super) bias_base: u32,
    pub(super) add: u32,
    pub(super) top_k: u32,
    pub(super) n_experts: u32,
    pub(super) table_base: u32,
    pub(super) pick_base: u32,
}

impl Params {
    pub(super) fn words(self) -> [u32; 16] {
        [
            self.rows,
            self.n_in,
            self.n_out,
            self.x_base,
            self.x_stride,
            self.out_base,
            self.out_stride,
            self.w_base,
            self.w_stride,
            self.scale_base,
            self.bias_base,
            self.add,
            self.top_k,
            self.n_experts,
            self.table_base,
            self.pick_base,
        ]
    }
}

/// The part of a product that a window of the matrix' stored rows gives: from which input and output on, and how many.
///
/// A window of a matrix stored `[n_in, n_out]` is a part of every sum: all windows but the first add.
pub(super) struct Part {
    pub(super) first_in: usize,
    pub(super) n_in: usize,
    pub(super) first_out: usize,
    pub(super) n_out: usize,
}

impl Part {
    pub(super) fn new(mat: &Mat, first: usize, rows: usize) -> Self {
        match mat.layout {
            Layout::OutIn => Part { first_in: 0, n_in: mat.n_in, first_out: first, n_out: rows },
            Layout::InOut => Part { first_in: first, n_in: rows, first_out: 0, n_out: mat.n_out },
        }
    }
}

/// Adds `by` to the index of a vector that exists.
pub(super) fn offset(base: u32, by: usize) -> u32 {
    if base == NONE { NONE } else { base + by as u32 }
}

impl Ops<'_> {
    pub(super) fn matmul(&mut self, op: &MatMul<'_>) -> Result<(), DeviceError> {
        const OP: &str = "MatMul";
        let (x, out) = (self.rows(OP, "input rows", &op.x)?, self.rows(OP, "output rows", &op.out)?);
        self.product(OP, &x, op.x.n_rows, op.w, op.bias, &out, op.add)
    }

    /// `out (+)= x wᵀ + bias` for `n_rows` rows.
    pub(super) fn product(
        &mut self,
        op: &'static str,
        x: &Operand,
        n_rows: usize,
        w: &Mat,
        bias: Option<Vector>,
        out: &Operand,
        add: bool,
    ) -> Result<(), DeviceError> {
        let ctx = self.ctx;
        let format = format(op, w.dtype)?;
        let (scale, scale_base) = self.vector(op, w.scale)?;
        let (bias, bias_base) = self.vector(op, bias)?;
        for window in self.weight(op, w.weight)?.windows(ctx, op, w) {
            let window = window?;
            let part = Part::new(w, window.first, window.rows);
            let aligned = aligned(format, window.base, w);
            let in_out = w.layout == Layout::InOut;
            let chunk = self.row_chunk(part.n_in * part.n_out, &[w.n_in, w.n_out]);
            for (first, n) in chunks(n_rows, chunk) {
                let (x, out) = (x.from_row(first), out.from_row(first));
                let ((x, x_base), (out, out_base)) = (x.span(ctx, n), out.span(ctx, n));
                let params = Params {
                    rows: n as u32,
                    n_in: part.n_in as u32,
                    n_out: part.n_out as u32,
                    x_base: x_base + part.first_in as u32,
                    x_stride: w.n_in as u32,
                    out_base: out_base + part.first_out as u32,
                    out_stride: w.n_out as u32,
                    w_base: window.base,
                    w_stride: w.stride as u32,
                    scale_base: offset(scale_base, part.first_out),
                    bias_base: if part.first_in == 0 { offset(bias_base, part.first_out) } else { NONE },
                    add: (add || part.first_in > 0).into(),
                    ..Params::default()
                };
                let columns = (part.n_out.div_ceil(64)) as u32;
                let (kernel, grid) = if in_out || n < 3 {
                    (Kernel::Gemv { format, aligned, in_out }, (columns, n as u32))
                } else {
                    let tiles = (n as u32).div_ceil(Kernel::GEMM_TILE);
                    (Kernel::Gemm { format, aligned }, (columns, tiles))
                };
                let spans = [window.span, x, out, scale, bias];
                let work = (n * part.n_in * part.n_out) as u64;
                self.rec.dispatch(ctx, kernel, &params.words(), &spans, grid, work)?;
            }
        }
        Ok(())
    }
}
