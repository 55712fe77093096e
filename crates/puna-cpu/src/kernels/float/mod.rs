//! Products with F32 activations: float weights of both layouts, and block formats expanded to floats. And products with BF16
//! activations, of weights in BF16 or rounded to it.
//!
//! Few rows are multiplied by the weights as they come, many by panels that are unpacked once for all of them. Within
//! each of the two a value is summed in the same order, whatever the number of rows and the range of outputs.

mod in_out;
mod out_in;
mod pairs;
mod source;
mod stream;

use super::blocks;
use super::panel::{Multiply, Strided};
use super::slab::{chunks, filled};
use crate::buffers::Line;
use crate::matmul::{Form, Kernels, MatRef, Packed, block_formats};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::ops::Range;
use puna_core::{DType, Layout};

/// Inputs of a panel, a multiple of 256: of blocks there are whole ones in it.
const DEPTH: usize = 768;
/// Outputs of a panel.
const OUTS: usize = 64;

/// Working memory of the kernels, 200 KiB.
pub(crate) struct FloatScratch {
    /// `[OUTS / width][DEPTH][width]` F32, rows for dot products, or pairs of BF16.
    panel: Vec<Line>,
    /// Eight rows on their way to becoming columns.
    rows: Vec<f32>,
}

impl FloatScratch {
    pub(crate) fn new() -> Result<Self, TryReserveError> {
        Ok(Self {
            panel: filled(Line::default(), OUTS * DEPTH / 16)?,
            rows: filled(0.0, 8 * out_in::STRIDE)?,
        })
    }
}

/// The product, written to `tile` without the row scales.
pub(crate) struct Product<'a> {
    pub(crate) w: MatRef<'a>,
    pub(crate) x: Packed<'a>,
    pub(crate) outs: Range<usize>,
    pub(crate) scratch: &'a mut FloatScratch,
    pub(crate) tile: &'a mut [f32],
}

impl Product<'_> {
    /// Computes it with the lanes of `kernels`.
    pub(crate) fn run(self, kernels: &Kernels) {
        macro_rules! plain {
            ($product:ident, $blocks:expr) => {
                match self.w.mat.dtype {
                    DType::F32 => $product::<source::F32>(kernels, self),
                    DType::F16 => $product::<source::F16>(kernels, self),
                    DType::BF16 => $product::<source::BF16>(kernels, self),
                    DType::F8E4M3 => $product::<source::F8E4M3>(kernels, self),
                    _ => $blocks(kernels, self),
                }
            };
        }
        use in_out::product as in_out;
        use out_in::{blocks as expanded, product as out_in};
        if self.x.form == Form::Bf16 {
            macro_rules! by_format {
                ($($format:ident),*) => {
                    match (self.w.mat.dtype, self.w.mat.layout) {
                        (DType::BF16, Layout::OutIn) => pairs::product(kernels, self),
                        (DType::F16, Layout::OutIn) => pairs::halves(kernels, self),
                        $((DType::$format, Layout::OutIn) => pairs::blocks::<blocks::$format>(kernels, self),)*
                        // No other weights meet such activations.
                        _ => self.tile.fill(f32::NAN),
                    }
                };
            }
            return block_formats!(by_format);
        }
        match self.w.mat.layout {
            Layout::OutIn => plain!(out_in, expanded),
            // No other such weights are let in.
            Layout::InOut => plain!(in_out, |_, p: Self| p.tile.fill(f32::NAN)),
        }
    }
}

/// Multiplies all rows by the panel of inputs `depth` and outputs `outs`.
fn multiply(kernels: &Kernels, p: &mut Product<'_>, depth: &Range<usize>, outs: &Range<usize>) {
    let stride = p.x.row_bytes();
    let first = outs.start - p.outs.start;
    kernels.enter(Multiply {
        x: Strided { bytes: &p.x.bytes[4 * depth.start..], stride, n_rows: p.x.n_rows },
        panel: bytemuck::cast_slice(&p.scratch.panel),
        depth: depth.len(),
        out: &mut p.tile[first..],
        stride: p.outs.len(),
        n_out: outs.len(),
        add: depth.start > 0,
    });
}
