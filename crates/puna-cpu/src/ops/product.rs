//! What all matrix products share: packing activations, cutting outputs into tasks, guessing the work.

use crate::buffers::Aligned;
use crate::device::{WeightMat, Worker};
use crate::matmul::{Form, Kernels, Packed};
use crate::pool::Team;
use core::ops::Range;
use puna_core::{DeviceError, Layout, Mat};

/// Most rows that go through a panel of weights at a time: unpacking a panel costs about as much as multiplying a dozen
/// rows. Four tiles of an image are 2308 rows.
pub(super) const ROW_BLOCK: usize = 2560;
/// Results of one product call, where that leaves [`PANEL_OUTS`] outputs: 256 KiB.
const TILE: usize = 64 << 10;
/// Weights of one task when there are many rows: as int8 half of an L2 cache.
const PANEL: usize = 512 << 10;
/// Outputs of a kernel's panel.
const PANEL_OUTS: usize = 64;
/// Weight bytes of one task when there are few rows: ten microseconds of memory traffic.
const STREAM: usize = 128 << 10;

/// The rows `0..n` in blocks of about the same size, none larger than `most`.
pub(super) fn row_blocks(n: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let len = n.div_ceil(n.div_ceil(most).max(1)).max(1);
    (0..n).step_by(len).map(move |start| start..n.min(start + len))
}

/// The outputs of a product cut into ranges, which depend on its shape only, not on who computes them.
#[derive(Clone, Copy)]
pub(super) struct Strips {
    step: usize,
    n_out: usize,
}

impl Strips {
    pub(super) fn new(mat: &Mat, n_rows: usize) -> Self {
        let (n_in, n_out) = (mat.n_in.max(1), mat.n_out);
        let row_bytes = (mat.bytes() / n_out.max(1) as u64).max(1);
        let stream = STREAM / usize::try_from(row_bytes).unwrap_or(STREAM).max(1);
        let many = (PANEL / n_in).min((TILE / n_rows.max(1)).max(PANEL_OUTS)).min(n_out / 16);
        let step = match (n_rows, mat.layout) {
            // Strips of a matrix stored by inputs are cut out of every row: keep the pieces long.
            (0..=4, Layout::InOut) => stream.max(n_out / 16).max(256),
            // Of a small matrix enough strips that no thread waits long for the last.
            (0..=4, Layout::OutIn) => stream.min(n_out / 16),
            (_, Layout::InOut) => many.max(64),
            (_, Layout::OutIn) => many,
        };
        let whole = if n_rows > 4 && step > PANEL_OUTS { PANEL_OUTS } else { 16 };
        Self { step: (step / whole * whole).clamp(16, 1024), n_out }
    }

    pub(super) fn len(&self) -> usize {
        self.n_out.div_ceil(self.step)
    }

    pub(super) fn get(&self, i: usize) -> Range<usize> {
        i * self.step..self.n_out.min((i + 1) * self.step)
    }

    /// Values in the tile of one product call over up to `n_rows` rows.
    pub(super) fn tile(&self, n_rows: usize) -> usize {
        self.step * n_rows.min(ROW_BLOCK)
    }
}

/// Nanoseconds that one thread would need, roughly.
pub(super) fn cost(mat: &Mat, n_rows: usize) -> u64 {
    let multiply_adds = (n_rows as u64).saturating_mul(mat.n_in as u64).saturating_mul(mat.n_out as u64);
    mat.bytes() / 16 + multiply_adds / 64
}

/// Rows as a kernel wants them.
#[derive(Clone, Copy)]
pub(super) struct PackedRows<'a> {
    pub(super) form: Form,
    pub(super) n_in: usize,
    /// Bytes of a row.
    pub(super) stride: usize,
    pub(super) bytes: &'a [u8],
}

impl<'a> PackedRows<'a> {
    /// Packs all rows of `x`, on the team when they are many.
    pub(super) fn new(
        kernels: &Kernels,
        form: Form,
        x: &[f32],
        n_in: usize,
        into: &'a mut Aligned,
        team: &mut Team<Worker>,
    ) -> Result<Self, DeviceError> {
        let stride = if n_in == 0 { 0 } else { kernels.packed_len(form, n_in) };
        let n_rows = x.len().checked_div(n_in).unwrap_or(0);
        let bytes = into.room::<u8>(n_rows.saturating_mul(stride))?;
        let rows = super::rows_per_task(n_in);
        team.chunks(bytes, rows * stride, x.len() as u64 / 4, |i, chunk, _| {
            let x = x[i * rows * n_in..].chunks_exact(n_in);
            for (x, into) in x.zip(chunk.chunks_exact_mut(stride.max(1))) {
                kernels.pack(form, x, n_in, 1.0, into);
            }
        })?;
        Ok(Self { form, n_in, stride, bytes })
    }

    pub(super) fn rows(&self, rows: Range<usize>) -> Packed<'a> {
        let bytes = &self.bytes[rows.start * self.stride..rows.end * self.stride];
        Packed { form: self.form, n_rows: rows.len(), n_in: self.n_in, bytes }
    }
}

/// One call of the kernel: `tile[r * outs.len() + o - outs.start]` for all rows of `x`.
pub(super) fn product(
    kernels: &Kernels,
    w: &WeightMat<'_>,
    x: &Packed<'_>,
    outs: Range<usize>,
    (kernel, floats): (&mut crate::matmul::Scratch, &mut Aligned),
    tile: &mut [f32],
) {
    if x.n_in == 0 {
        return tile.fill(0.0);
    }
    kernels.product(&w.get(floats), x, outs, kernel, tile);
}
