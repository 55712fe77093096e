//! Products with F32 activations: float weights of both layouts, and block formats expanded to floats.
//!
//! A value is the same whatever the number of rows and the range of outputs: every kernel sums it in the same order.

mod in_out;
mod out_in;
mod pairs;
mod source;

use super::blocks;
use super::lanes::{Kernel, Lanes};
use crate::matmul::{Kernels, MatRef, Packed};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::Range;
use puna_core::{DType, Layout};
use source::{Blocks, Source};

/// Outputs of a panel of expanded weights.
const OUTS: usize = 32;
/// Inputs of a panel.
const DEPTH: usize = 1024;

/// Floats from one row of an `[OUTS][DEPTH]` panel to the next: rows of a power of two would fight for the same sets of
/// the cache.
const STRIDE: usize = DEPTH + 16;

/// Working memory of the kernels, 130 KiB.
pub(crate) struct FloatScratch {
    panel: Vec<f32>,
}

impl FloatScratch {
    pub(crate) fn new() -> Result<Self, TryReserveError> {
        let mut panel = Vec::new();
        panel.try_reserve_exact(OUTS * STRIDE)?;
        panel.resize(OUTS * STRIDE, 0.0);
        Ok(Self { panel })
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

/// Expands values `at..at + n` of each row of weights into a row of `stride` floats.
struct Expand<'a, S> {
    w: MatRef<'a>,
    rows: &'a Range<usize>,
    at: usize,
    n: usize,
    stride: usize,
    panel: &'a mut [f32],
    source: PhantomData<S>,
}

impl<S: Source> Kernel for Expand<'_, S> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        for (panel, r) in self.panel.chunks_exact_mut(self.stride).zip(self.rows.clone()) {
            S::expand(l, self.w.row(r), self.at, &mut panel[..self.n]);
        }
    }
}

/// Consecutive ranges of `len`, the last one shorter.
fn chunks(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(len).map(move |start| start..end.min(start + len))
}
