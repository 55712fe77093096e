//! Products with F32 activations: float weights of both layouts, and block formats expanded to floats.
//!
//! A value is the same whatever the number of rows and the range of outputs: every kernel sums it in the same order.

mod in_out;
mod out_in;
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

/// Working memory of the kernels, 128 KiB.
pub(crate) struct FloatScratch {
    panel: Vec<f32>,
}

impl FloatScratch {
    pub(crate) fn new() -> Result<Self, TryReserveError> {
        let mut panel = Vec::new();
        panel.try_reserve_exact(OUTS * DEPTH)?;
        panel.resize(OUTS * DEPTH, 0.0);
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

/// Evaluates an expression with `$source` being the type that reads the format.
macro_rules! with_source {
    ($dtype:expr, $source:ident => $call:expr, else $unknown:expr; $($format:ident)*) => {
        match $dtype {
            DType::F32 => { type $source = source::F32; $call }
            DType::F16 => { type $source = source::F16; $call }
            DType::BF16 => { type $source = source::BF16; $call }
            DType::F8E4M3 => { type $source = source::F8E4M3; $call }
            $(DType::$format => { type $source = Blocks<blocks::$format>; $call })*
            _ => $unknown,
        }
    };
}

impl Product<'_> {
    /// Computes it with the lanes of `kernels`.
    pub(crate) fn run(self, kernels: &Kernels) {
        let layout = self.w.mat.layout;
        with_source!(self.w.mat.dtype, S => match layout {
            Layout::OutIn => out_in::product::<S>(kernels, self),
            Layout::InOut => in_out::product::<S>(kernels, self),
        },
        // `DType` may grow. The product with an unknown format is not a number.
        else self.tile.fill(f32::NAN);
            Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4 IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S
            IQ3_XXS IQ3_S TQ1_0 TQ2_0
        );
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
