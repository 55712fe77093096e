//! [`MatMul`], and the products that other ops are made of.

use super::{NONE, Ops, aligned, chunks, format};
use crate::buffer::{Buffer, Operand, Span};
use crate::recorder::Scratch;
use crate::tiles::Choice;
use crate::traffic;
use puna_core::ops::MatMul;
use puna_core::{DeviceError, Layout, Mat, Vector};
use puna_shaders::quant::Format;
use puna_shaders::{Job, Kernel, Narrow, Shape, Tier};

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

/// The kernel, under the name in the catalogue: tiles are the same in both tiers for GPUs.
pub(crate) fn product_kernel(
    format: Format,
    aligned: bool,
    job: Job,
    shape: Shape,
    (tier, tiles): (Tier, Choice),
) -> Kernel {
    if let Some(how) = tiles.of(format, tier).filter(|_| shape == Shape::Tile) {
        return Kernel::Narrow { format, aligned, job, how };
    }
    let tier = match (tier, shape) {
        (Tier::Subgroup, Shape::Tile) => Tier::Shared,
        _ => tier,
    };
    Kernel::Product { format, aligned, job, shape, tier }
}

/// What the kernel's rows are rounded to, if they are.
pub(crate) fn narrow(kernel: &Kernel) -> Option<Narrow> {
    match kernel {
        Kernel::Narrow { how, .. } => Some(*how),
        _ => None,
    }
}

/// The kernel that rounds rows so.
pub(crate) fn rounding(how: Narrow) -> Kernel {
    if how == Narrow::Packed { Kernel::PackRows } else { Kernel::HalfRows }
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

/// What a product binds as its rows, and is told of them: the rounded ones, if there are such.
pub(super) fn meet<'a>(
    rounded: Option<&'a (Narrow, Buffer)>,
    x: Span<'a>,
    params: Params,
) -> (Span<'a>, Params) {
    match rounded {
        Some((how, rounded)) => {
            let x_stride = how.row_vectors(params.n_in as usize) as u32;
            (Span::whole(rounded), Params { x_base: 0, x_stride, ..params })
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
        self.product_in(self.ctx.tiles, op, (x, out), n_rows, w, bias, add)
    }

    /// The same, with a choice of what tiles of rows are multiplied in.
    pub(super) fn product_in(
        &mut self,
        tiles: Choice,
        op: &'static str,
        (x, out): (&Operand, &Operand),
        n_rows: usize,
        w: &Mat,
        bias: Option<Vector>,
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
                    shaped(format, aligned, (Job::MatMul, tier, tiles), n, part.n_out)
                };
                let rounded = self.rounded(kernel, &x_rows, n)?;
                let (x, params) = meet(rounded.as_ref(), x, params);
                let spans = [window.span, x, out, scale, bias];
                let work = (n * part.n_in * part.n_out) as u64;
                self.loaded(kernel, (window.base, w.stride), (part.n_in, part.n_out), grid.1);
                self.rec.dispatch(ctx, kernel, &params.words(), &spans, grid, work)?;
            }
        }
        Ok(())
    }

    /// Rows in what the kernel of their product reads, if those are not the rows themselves.
    pub(super) fn rounded(
        &mut self,
        kernel: Kernel,
        x: &Operand,
        n: usize,
    ) -> Result<Option<(Narrow, Buffer)>, DeviceError> {
        narrow(&kernel).map(|how| Ok((how, self.round(x, n, how)?))).transpose()
    }

    /// Rows of a multiple of 8 values, for packed bytes of 32, rounded.
    pub(super) fn round(&mut self, x: &Operand, n: usize, how: Narrow) -> Result<Buffer, DeviceError> {
        let kernel = rounding(how);
        let scratch = if kernel == Kernel::PackRows { Scratch::Packed } else { Scratch::Halves };
        let words = 4 * how.row_vectors(x.width) * n;
        let rounded = self.rec.scratch(self.ctx, scratch, words)?;
        let (x_span, x_base) = x.span(self.ctx, n);
        self.rec.extra.0 += 4 * words as u64;
        self.rec.extra.1 += 4 * words as u64;
        let spans = [x_span, Span::whole(&rounded)];
        let work = (n * x.width) as u64;
        if kernel == Kernel::PackRows {
            // Eight blocks of 32 values a workgroup. A grid ends at 65,535 in each direction.
            let blocks = n * x.width / 32;
            let groups = blocks.div_ceil(8).max(1);
            let across = groups.min(32_768);
            let params = [blocks as u32, 8 * across as u32, x_base / 4];
            let grid = (across as u32, groups.div_ceil(across) as u32);
            self.rec.dispatch(self.ctx, kernel, &params, &spans, grid, work)?;
        } else {
            let params = [x.width as u32 / 4, x_base / 4];
            self.rec.dispatch(self.ctx, kernel, &params, &spans, (1, n as u32), work)?;
        }
        Ok(rounded)
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
            Kernel::Narrow { format, .. } => {
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
}

/// The kernel of a product with `n` rows, and its grid.
pub(super) fn shaped(
    format: Format,
    aligned: bool,
    (job, tier, tiles): (Job, Tier, Choice),
    n: usize,
    n_out: usize,
) -> (Kernel, (u32, u32)) {
    let (shape, of_rows) = match n < FEW_ROWS {
        true => (Shape::Row, n as u32),
        false => (Shape::Tile, (n as u32).div_ceil(tier.tile())),
    };
    let columns = (n_out as u32).div_ceil(tier.outputs(job, shape));
    (product_kernel(format, aligned, job, shape, (tier, tiles)), (columns, of_rows))
}
