//! Block formats as the integer kernels see them: signed codes in steps of 32 under float scales.

mod codebooks;
mod columns;
mod k_quants;
mod legacy;

pub(crate) use codebooks::{IQ1_M, IQ1_S, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS};
pub(crate) use columns::{ByColumns, ColumnStep};
pub(crate) use k_quants::{IQ4_XS, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, TQ1_0, TQ2_0};
pub(crate) use legacy::{IQ4_NL, MXFP4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};

use super::dot::RowDot;
use super::lanes::Lanes;
use super::panel::transpose;

/// 32 consecutive weights of a row. Weight `i` is `codes[i] * scale[i / 16] - min[i / 16]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) codes: [i8; 32],
    pub(crate) scale: [f32; 2],
    pub(crate) min: [f32; 2],
}

impl Step {
    pub(crate) const ZERO: Self = Self { codes: [0; 32], scale: [0.0; 2], min: [0.0; 2] };
}

/// Scales and minima of the steps of eight blocks, those of a step side by side: `[step][half][block]`. Where halves share
/// them, only the first are there, and minima only where the format has any.
#[derive(Clone, Copy)]
pub(crate) struct Sides {
    pub(crate) scale: [[[f32; 8]; 2]; 8],
    pub(crate) min: [[[f32; 8]; 2]; 8],
}

impl Sides {
    pub(crate) const ZERO: Self = Self { scale: [[[0.0; 8]; 2]; 8], min: [[[0.0; 8]; 2]; 8] };
}

/// What the steps of a format are like; formats of one shape share their kernels.
pub(crate) trait Shape {
    /// No code is larger, or smaller than its negative.
    const LIMIT: i32;
    /// Whether the two halves of a step have scales of their own.
    const HALVES: bool;
    /// Whether there are minima.
    const AFFINE: bool;
}

/// Codes up to `LIMIT`, one scale for a step.
pub(crate) struct Symmetric<const LIMIT: i32>;
/// Codes up to 16, one scale and minimum for a step.
pub(crate) struct Affine;
/// Codes up to `LIMIT`, a scale for each half of a step.
pub(crate) struct SymmetricHalves<const LIMIT: i32>;
/// Codes up to 16, a scale and a minimum for each half of a step.
pub(crate) struct AffineHalves;

impl<const N: i32> Shape for Symmetric<N> {
    const LIMIT: i32 = N;
    const HALVES: bool = false;
    const AFFINE: bool = false;
}
impl Shape for Affine {
    const LIMIT: i32 = 16;
    const HALVES: bool = false;
    const AFFINE: bool = true;
}
impl<const N: i32> Shape for SymmetricHalves<N> {
    const LIMIT: i32 = N;
    const HALVES: bool = true;
    const AFFINE: bool = false;
}
impl Shape for AffineHalves {
    const LIMIT: i32 = 16;
    const HALVES: bool = true;
    const AFFINE: bool = true;
}

/// A block format.
pub(crate) trait Block {
    /// Bytes of a block.
    const BYTES: usize;
    /// Steps of a block: 1 or 8.
    const STEPS: usize;
    /// What its steps are like.
    type Shape: Shape;
    /// What multiplies its rows with few rows of activations.
    type Dot: RowDot;
    /// What makes columns of its rows while they are packed, or [`columns::NotByColumns`].
    type Columns: ByColumns;

    /// Unpacks a block of `BYTES` bytes into `STEPS` steps, unless the two functions below take all from the block.
    #[inline(always)]
    fn unpack<L: Lanes>(_l: L, _block: &[u8], _steps: &mut [Step; 8]) {}

    /// Unpacks eight blocks, and puts their scales and minima side by side.
    #[inline(always)]
    fn sides<L: Lanes>(l: L, blocks: &[&[u8]; 8], unpacked: &mut [[Step; 8]; 8], to: &mut Sides) {
        for (i, (block, steps)) in blocks.iter().zip(unpacked).enumerate() {
            Self::unpack(l, block, steps);
            for ((step, scale), min) in steps[..Self::STEPS].iter().zip(&mut to.scale).zip(&mut to.min) {
                for half in 0..2 {
                    (scale[half][i], min[half][i]) = (step.scale[half], step.min[half]);
                }
            }
        }
    }

    /// The codes of step `s` of a block that was unpacked to `step`.
    #[inline(always)]
    fn step_codes<L: Lanes>(l: L, _block: &[u8], _s: usize, step: &Step) -> L::V {
        l.load(bytemuck::cast_ref(&step.codes))
    }
}

/// Values of eight blocks, of steps or of their halves, become those of a step or a half side by side.
#[inline(always)]
fn side_by_side<L: Lanes, S: Shape>(l: L, values: &[[f32; 16]; 8], to: &mut [[[f32; 8]; 2]; 8]) {
    for eight in 0..if S::HALVES { 2 } else { 1 } {
        let mut rows = [l.splat8(0); 8];
        for (row, values) in rows.iter_mut().zip(values) {
            *row = l.load(bytemuck::cast_ref(&values.as_chunks::<8>().0[eight]));
        }
        for (i, column) in transpose(l, rows).into_iter().enumerate() {
            let (s, half) = if S::HALVES { (4 * eight + i / 2, i % 2) } else { (i, 0) };
            l.store(column, bytemuck::cast_slice_mut(&mut to[s][half]));
        }
    }
}

/// The little-endian f16 at byte `at`, widened.
#[inline(always)]
pub(crate) fn f16_at<L: Lanes>(l: L, block: &[u8], at: usize) -> f32 {
    l.f16(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// The `N` bytes from byte `at` on.
#[inline(always)]
pub(crate) fn bytes_at<const N: usize>(block: &[u8], at: usize) -> &[u8; N] {
    match block[at..].first_chunk() {
        Some(bytes) => bytes,
        None => &[0; N],
    }
}
