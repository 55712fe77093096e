//! Products in [`Tier::Lanes`](puna_shaders::Tier::Lanes) whose weights and activations are bound as windows of uniforms.

use super::matmul::{FEW_ROWS, offset, tier_of};
use super::{NONE, Ops, aligned, format};
use crate::buffer::{Operand, Span};
use puna_core::{DeviceError, Layout, Mat, Vector};
use puna_shaders::{Kernel, Shape, Tier};

const WINDOWS: usize = Kernel::WINDOWS;
/// Rows of a window of activations that a tile takes.
const TILE: usize = 4;

/// The parameters of the kernels, in the order of `matmul/windows.wgsl`.
#[derive(Clone, Copy, Default)]
struct Params {
    w_base: [u32; WINDOWS],
    w_stride: [u32; WINDOWS],
    x_base: [u32; WINDOWS],
    x_stride: u32,
    n_in: u32,
    n_out: u32,
    window_outs: u32,
    rows: u32,
    window_rows: u32,
    out_base: u32,
    out_stride: u32,
    scale_base: u32,
    bias_base: u32,
    add: u32,
}

impl Params {
    fn words(self) -> Vec<u32> {
        let bases = [self.w_base, self.w_stride, self.x_base].concat();
        let rest = [
            self.x_stride,
            self.n_in,
            self.n_out,
            self.window_outs,
            self.rows,
            self.window_rows,
            self.out_base,
            self.out_stride,
            self.scale_base,
            self.bias_base,
            self.add,
            0,
        ];
        [&bases[..], &rest].concat()
    }
}

/// How many items a window takes, when `windows` of them at a time share `len`: as even as possible, in multiples of
/// `step` where so many fit; `most` fit.
fn share(len: usize, windows: usize, most: usize, step: usize) -> usize {
    let rounds = len.div_ceil(windows * most.max(1));
    let even = len.div_ceil(windows * rounds.max(1));
    let whole = even.next_multiple_of(step);
    if whole <= most { whole } else { even }
}

/// Rows of `bytes` bytes, one every `stride`, that fit into a window wherever the first of them begins; `before` is how many
/// bytes a window begins before it at most.
pub(super) fn rows_in_window(bytes: usize, stride: usize, before: u64) -> usize {
    match (Kernel::WINDOW - before).checked_sub(bytes as u64) {
        Some(room) => (room as usize).checked_div(stride).unwrap_or(0) + 1,
        None => 0,
    }
}

/// How many rows of activations and of weights a window takes, in products with these matrices and activations that begin
/// at element `x_at`; `None` if such products are not computed with windows, whose offsets are multiples of `align`.
pub(crate) fn room(align: u64, mats: &[&Mat], x_at: usize, shape: Shape) -> Option<(usize, usize)> {
    let mat = mats.first()?;
    let plain = mats.iter().all(|m| m.layout == Layout::OutIn);
    if !plain || tier_of(Tier::Lanes, &[x_at], mat.n_in) != Tier::Lanes {
        return None;
    }
    let row_bytes = mat.n_in.checked_mul(4)?;
    let before = match (row_bytes as u64).is_multiple_of(align) {
        true => (x_at as u64 * 4) % align,
        false => align - 4,
    };
    let rows = rows_in_window(row_bytes, row_bytes, before);
    let outs = mats.iter().map(|m| rows_in_window(m.row_bytes().unwrap_or(usize::MAX), m.stride, align - 1));
    let outs = outs.min()?;
    // A tile of single rows would compute four times as much as it keeps.
    let least = if shape == Shape::Row { 1 } else { 2 };
    (outs > 0 && rows >= least).then_some((rows, outs))
}

impl Ops<'_> {
    /// `out (+)= x wᵀ + bias` of one matrix, or `silu(x gate) * (x up)` of two, if the device reads uniforms and rows of
    /// weights and activations fit into windows of them; otherwise nothing is done and the answer is `false`.
    pub(super) fn windowed(
        &mut self,
        op: &'static str,
        mats: &[&Mat],
        bias: Option<Vector>,
        (x, out): (&Operand, &Operand),
        n_rows: usize,
        add: bool,
    ) -> Result<bool, DeviceError> {
        let ctx = self.ctx;
        let (Some(align), [mat, rest @ ..]) = (ctx.windows(), mats) else { return Ok(false) };
        let two = !rest.is_empty();
        let (shape, x_windows) = if n_rows < FEW_ROWS { (Shape::Row, 1) } else { (Shape::Tile, WINDOWS) };
        let Some((most_rows, most_outs)) = room(align, mats, x.offset, shape) else { return Ok(false) };
        if n_rows == 0 || mat.n_out == 0 {
            return Ok(false);
        }
        let format = format(op, mat.dtype)?;
        let row_bytes = mat.n_in * 4;
        let in_both = if two { WINDOWS / 2 } else { WINDOWS };
        let window_outs = share(mat.n_out, in_both, most_outs, 8);
        let chunk = self.row_chunk(mat.n_in * window_outs * WINDOWS, &[mat.n_in, mat.n_out]);
        let most_rows = most_rows.min(chunk / x_windows).max(1);
        let window_rows = match shape {
            Shape::Row => most_rows.min(n_rows),
            Shape::Tile => share(n_rows, x_windows, most_rows, TILE),
        };

        // All weights are found before anything is recorded.
        let mut parts = Vec::new();
        for first in (0..mat.n_out).step_by(in_both * window_outs) {
            let mut windows = Vec::with_capacity(WINDOWS);
            for m in mats {
                for i in 0..in_both {
                    // A window without outputs is the first again.
                    let start = first + i * window_outs;
                    let start = if start < mat.n_out { start } else { first };
                    let rows = window_outs.min(mat.n_out - start);
                    match self.weight(op, m.weight)?.uniform(ctx, op, m, (start, rows))? {
                        Some(window) => windows.push(window),
                        None => return Ok(false),
                    }
                }
            }
            parts.push((first, windows));
        }
        let mut batches = Vec::new();
        for from in (0..n_rows).step_by(x_windows * window_rows) {
            let rows = (n_rows - from).min(x_windows * window_rows);
            let mut windows = Vec::with_capacity(x_windows);
            for i in 0..x_windows {
                let start = if i * window_rows < rows { i * window_rows } else { 0 };
                let at = (x.offset + (from + start) * mat.n_in) as u64 * 4;
                let end = at + (window_rows.min(rows - start) * row_bytes) as u64;
                match Span::window(&x.buffer, at, end, align) {
                    Some(window) => windows.push(window),
                    None => return Ok(false),
                }
            }
            batches.push((from, rows, windows));
        }

        let (scale, scale_base) = self.vector(op, mat.scale)?;
        let (bias, bias_base) = self.vector(op, bias)?;
        let extra = !two && (add || scale_base != NONE || bias_base != NONE);
        for (from, rows, x_windows) in &batches {
            let out = out.skip_rows(*from);
            let (out_span, out_base) = out.span(ctx, *rows);
            for (first, windows) in &parts {
                let n_out = (mat.n_out - first).min(in_both * window_outs);
                let mut params = Params {
                    x_stride: mat.n_in as u32 / 4,
                    n_in: mat.n_in as u32,
                    n_out: n_out as u32,
                    window_outs: window_outs as u32,
                    rows: *rows as u32,
                    window_rows: window_rows as u32,
                    out_base: out_base + *first as u32,
                    out_stride: mat.n_out as u32,
                    scale_base: offset(scale_base, *first),
                    bias_base: offset(bias_base, *first),
                    add: add.into(),
                    ..Params::default()
                };
                let mut spans = Vec::with_capacity(2 * WINDOWS + 3);
                let mut whole = mats.iter().all(|m| aligned(format, 0, m));
                for (i, (span, base)) in windows.iter().enumerate() {
                    spans.push(*span);
                    params.w_base[i] = *base;
                    params.w_stride[i] = mats[i / in_both].stride as u32;
                    whole &= base.is_multiple_of(4);
                }
                spans.push(out_span);
                for (i, (span, base)) in x_windows.iter().enumerate() {
                    spans.push(*span);
                    params.x_base[i] = base / 16;
                }
                if extra {
                    spans.extend([scale, bias]);
                }
                let kernel = Kernel::Windows { format, aligned: whole, shape, two, extra };
                let tiles = if shape == Shape::Row { *rows } else { window_rows.div_ceil(TILE) } as u32;
                let grid = (window_outs.div_ceil(8) as u32, tiles);
                for m in mats {
                    self.loaded(kernel, (0, m.stride), (mat.n_in, n_out), tiles);
                }
                let work = (rows * mat.n_in * n_out * mats.len()) as u64;
                self.rec.dispatch(ctx, kernel, &params.words(), &spans, grid, work)?;
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_and_fit() {
        // 576 outputs of which 182 fit into a window, and 1,536 that take three rounds of four windows.
        assert_eq!(share(576, 4, 182, 8), 144);
        assert_eq!(share(1536, 4, 182, 8), 128);
        // Multiples of 8 only where they fit.
        assert_eq!(share(67, 4, 20, 8), 17);
        assert_eq!(share(67, 4, 24, 8), 24);
        for (len, windows, most, step) in [(1, 4, 1, 8), (49_152, 4, 107, 8), (5, 2, 3, 4), (128, 4, 10, 4)] {
            let each = share(len, windows, most, step);
            assert!((1..=most).contains(&each), "{len} {windows} {most} {step}: {each}");
        }
    }

    #[test]
    fn rows_that_fit_into_a_window() {
        assert_eq!(rows_in_window(360, 360, 255), 181);
        assert_eq!(rows_in_window(65_536, 65_536, 0), 1);
        assert_eq!(rows_in_window(65_536, 65_536, 4), 0);
        assert_eq!(rows_in_window(usize::MAX, 7, 0), 0);
    }
}
