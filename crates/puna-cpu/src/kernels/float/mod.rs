//! Products with F32 activations: float weights of both layouts, and block formats expanded to floats.
//!
//! Few rows are multiplied by the weights as they come, many by panels that are unpacked once for all of them. Within
//! each of the two a value is summed in the same order, whatever the number of rows and the range of outputs.

mod in_out;
mod out_in;
mod pairs;
mod source;

use super::blocks;
use super::panel::{Multiply, Strided};
use super::slab::chunks;
use crate::matmul::{Kernels, MatRef, Packed};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::ops::Range;
use puna_core::{DType, Layout};
use source::Blocks;

/// Inputs of a panel, a multiple of 256: of blocks there are whole ones in it.
const DEPTH: usize = 768;
/// Outputs of a panel.
const OUTS: usize = 64;

/// Working memory of the kernels, 200 KiB.
pub(crate) struct FloatScratch {
    /// `[OUTS / width][DEPTH][width]`, or rows for dot products.
    panel: Vec<f32>,
    /// Eight rows on their way to becoming columns.
    rows: Vec<f32>,
}

impl FloatScratch {
    pub(crate) fn new() -> Result<Self, TryReserveError> {
        let zeros = |n| -> Result<Vec<f32>, TryReserveError> {
            let mut values = Vec::new();
            values.try_reserve_exact(n)?;
            values.resize(n, 0.0);
            Ok(values)
        };
        Ok(Self { panel: zeros(OUTS * DEPTH)?, rows: zeros(8 * out_in::STRIDE)? })
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
        macro_rules! by_format {
            ($product:ident: $($source:ident)*; $($block:ident)*) => {
                match self.w.mat.dtype {
                    $(DType::$source => $product::<source::$source>(kernels, self),)*
                    $(DType::$block => $product::<Blocks<blocks::$block>>(kernels, self),)*
                    // No such weights are let in.
                    _ => self.tile.fill(f32::NAN),
                }
            };
        }
        use {in_out::product as in_out, out_in::product as out_in};
        match self.w.mat.layout {
            Layout::OutIn => {
                by_format!(out_in: F32 F16 BF16 F8E4M3; Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K
                IQ4_NL IQ4_XS MXFP4 IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S TQ1_0 TQ2_0)
            }
            Layout::InOut => by_format!(in_out: F32 F16 BF16 F8E4M3;),
        }
    }
}

/// Multiplies all rows by the panel of inputs `depth` and outputs `outs`.
fn multiply(kernels: &Kernels, p: &mut Product<'_>, depth: &Range<usize>, outs: &Range<usize>) {
    let stride = p.x.row_bytes();
    let first = outs.start - p.outs.start;
    kernels.enter(Multiply {
        x: Strided { bytes: &p.x.bytes[4 * depth.start..], stride, n_rows: p.x.n_rows },
        panel: &p.scratch.panel,
        depth: depth.len(),
        out: &mut p.tile[first..],
        stride: p.outs.len(),
        n_out: outs.len(),
        add: depth.start > 0,
    });
}
