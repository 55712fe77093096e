//! [`MatMul`], and the products that other ops are made of.

use super::{NONE, Ops, aligned, chunks, format};
use crate::buffer::{Buffer, Operand, Span};
use crate::recorder::Scratch;
use crate::traffic;
use puna_core::ops::MatMul;
use puna_core::{DeviceError, Layout, Mat, Vector};
use puna_shaders::quant::Format;
use puna_shaders::{Job, Kernel, Shape, Tier};

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
    pub(super) up_base: u32,
    pub(super) up_stride: u32,
    pub(super) scale_base: u32,
    pub(super) bias_base: u32,
    pub(super) add: u32,
    pub(super) top_k: u32,
    pub(super) n_experts: u32,
    pub(super) table_base: u32,
    pub(super) pick_base: u32,
    pub(super) scores_base: u32,
}

impl Params {
    pub(super) fn words(self) -> [u32; 19] {
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
            self.up_base,
            self.up_stride,
            self.scale_base,
            self.bias_base,
            self.add,
            self.top_k,
            self.n_experts,
            self.table_base,
            self.pick_base,
            self.scores_base,
        ]
    }
}

/// From so many rows on, tiles of rows are faster than one row after the other.
pub(crate) const FEW_ROWS: usize = 3;

/// Whether tiles of rows are multiplied by such a matrix in packed bytes, on a device that does so.
pub(crate) fn packs(packed: bool, format: Format, tier: Tier) -> bool {
    packed && tier.shared() && !format.plain
}

/// The kernel, under the name in the catalogue: tiles are the same in both tiers for GPUs.
pub(crate) fn product_kernel(
    format: Format,
    aligned: bool,
    job: Job,
    shape: Shape,
    (tier, packed): (Tier, bool),
) -> Kernel {
    if shape == Shape::Tile && packs(packed, format, tier) {
        return Kernel::Packed { format, aligned, job };
    }
    let tier = match (tier, shape) {
        (Tier::Subgroup, Shape::Tile) => Tier::Shared,
        _ => tier,
    };
    Kernel::Product { format, aligned, job, shape, tier }
}

/// The tier if it takes rows of this width that begin at these elements, else the one that takes any.
pub(crate) fn tier_of(tier: Tier, offsets: &[usize], width: usize) -> Tier {
    let whole = width.is_multiple_of(tier.step()) && offsets.iter().all(|at| at.is_multiple_of(4));
    if whole { tier } else { Tier::Thread }
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

/// What a product binds as its rows, and is told of them: the packed ones, if there are such.
pub(super) fn meet<'a>(packed: Option<&'a Buffer>, x: Span<'a>, params: Params) -> (Span<'a>, Params) {
    match packed {
        Some(packed) => {
            // In vectors of four words.
            let x_stride = params.n_in / 32 * (Kernel::PACKED_WORDS as u32 / 4);
            (Span::whole(packed), Params { x_base: 0, x_stride, ..params })
        }
        None => (x, params),
    }
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
        if self.windowed(op, &[w], bias, (x, out), n_rows, add)? {
            return Ok(());
        }
        let (scale, scale_base) = self.vector(op, w.scale)?;
        let (bias, bias_base) = self.vector(op, bias)?;
        for window in self.weight(op, w.weight)?.windows(ctx, op, w) {
            let window = window?;
            let part = Part::new(w, window.first, window.rows);
            let aligned = aligned(format, window.base, w);
            let in_out = w.layout == Layout::InOut;
            let chunk = self.row_chunk(part.n_in * part.n_out, &[w.n_in, w.n_out]);
            for (first, n) in chunks(n_rows, chunk) {
                let (x_rows, out) = (x.skip_rows(first), out.skip_rows(first));
                let x_at = x_rows.offset;
                let ((x, x_base), (out, out_base)) = (x_rows.span(ctx, n), out.span(ctx, n));
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
                let (kernel, grid) = if in_out {
                    let grid = (part.n_out.div_ceil(64) as u32, n as u32);
                    (Kernel::MatMulInOut { format, aligned }, grid)
                } else {
                    let tier = tier_of(ctx.tier, &[x_at], w.n_in);
                    self.shaped(format, aligned, (Job::MatMul, tier), n, part.n_out)
                };
                let packed = self.packed(kernel, &x_rows, n)?;
                let (x, params) = meet(packed.as_ref(), x, params);
                let spans = [window.span, x, out, scale, bias];
                let work = (n * part.n_in * part.n_out) as u64;
                self.loaded(kernel, (window.base, w.stride), (part.n_in, part.n_out), grid.1);
                self.rec.dispatch(ctx, kernel, &params.words(), &spans, grid, work)?;
            }
        }
        Ok(())
    }

    /// Rows as packed bytes, if that is what the kernel of their product reads.
    pub(super) fn packed(
        &mut self,
        kernel: Kernel,
        x: &Operand,
        n: usize,
    ) -> Result<Option<Buffer>, DeviceError> {
        if matches!(kernel, Kernel::Packed { .. }) { self.pack(x, n).map(Some) } else { Ok(None) }
    }

    /// Rows of whole blocks of 32 values as packed bytes.
    pub(super) fn pack(&mut self, x: &Operand, n: usize) -> Result<Buffer, DeviceError> {
        let blocks = n * x.width / 32;
        let packed = self.rec.scratch(self.ctx, Scratch::Packed, Kernel::PACKED_WORDS * blocks)?;
        let (x, x_base) = x.span(self.ctx, n);
        // Eight blocks a workgroup. A grid ends at 65,535 in each direction.
        let groups = blocks.div_ceil(8).max(1);
        let across = groups.min(32_768);
        let params = [blocks as u32, 8 * across as u32, x_base / 4];
        let grid = (across as u32, groups.div_ceil(across) as u32);
        let bytes = 4 * (Kernel::PACKED_WORDS * blocks) as u64;
        self.rec.extra.0 += bytes;
        self.rec.extra.1 += bytes;
        let spans = [x, Span::whole(&packed)];
        self.rec.dispatch(self.ctx, Kernel::PackRows, &params, &spans, grid, (32 * blocks) as u64)?;
        Ok(packed)
    }

    /// Counts the weights that a product loads for each row or tile of rows.
    pub(super) fn loaded(
        &mut self,
        kernel: Kernel,
        (base, stride): (u32, usize),
        (n_in, n_out): (usize, usize),
        tiles: u32,
    ) {
        let bytes = match kernel {
            Kernel::Product { format, shape, tier, .. } => {
                traffic::weights((tier, shape), format, (base as usize, stride), (n_in, n_out))
            }
            Kernel::Packed { format, .. } => {
                traffic::weights((Tier::Shared, Shape::Tile), format, (0, 0), (n_in, n_out))
            }
            Kernel::Windows { format, shape, .. } => {
                traffic::weights((Tier::Lanes, shape), format, (0, 0), (n_in, n_out))
            }
            Kernel::MatMulInOut { format, .. }
            | Kernel::RouteRow { format, .. }
            | Kernel::ExpertGateUp { format, .. }
            | Kernel::ExpertDown { format, .. } => {
                traffic::weights((Tier::Thread, Shape::Row), format, (0, 0), (n_in, n_out))
            }
            _ => 0,
        };
        self.rec.counts.weight_bytes += bytes * u64::from(tiles);
    }

    /// The kernel of a product with `n` rows, and its grid.
    pub(super) fn shaped(
        &self,
        format: Format,
        aligned: bool,
        (job, tier): (Job, Tier),
        n: usize,
        n_out: usize,
    ) -> (Kernel, (u32, u32)) {
        let (shape, tiles) = match n < FEW_ROWS {
            true => (Shape::Row, n as u32),
            false => (Shape::Tile, (n as u32).div_ceil(tier.tile())),
        };
        let columns = (n_out as u32).div_ceil(tier.outputs(job, shape));
        (product_kernel(format, aligned, job, shape, (tier, self.ctx.packed)), (columns, tiles))
    }
}
