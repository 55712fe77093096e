//! Block formats as the integer kernels see them: signed codes in steps of 32 under float scales.

mod by_rows;
mod codebooks;
mod columns;
mod k_quants;
mod legacy;
mod ternary;

pub(crate) use codebooks::{IQ1_M, IQ1_S, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS};
pub(crate) use k_quants::{IQ4_XS, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K};
pub(crate) use legacy::{IQ4_NL, MXFP4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub(crate) use ternary::{TQ1_0, TQ2_0};

use super::dot::RowDot;
use super::lanes::columns::ROWS;
use super::lanes::{Columns, Lanes};
use super::slab::Keep;

/// 32 consecutive weights of as many rows as there are lanes. Weight `i` of a row is its code times `scale[i / 16]`, less
/// `min[i / 16]` where the format has minima. Where halves share them, only the first are there.
pub(crate) struct Step<L: Lanes> {
    /// Word `j`: codes `4 * j .. 4 * j + 4`.
    pub(crate) codes: [L::T; 8],
    pub(crate) scale: [L::G; 2],
    pub(crate) min: [L::G; 2],
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

    /// Unpacks pieces of rows, of whole blocks and of equal length, as many as there are lanes: the rows of the outputs of the
    /// slab from `first` on.
    fn unpack<L: Columns>(l: L, rows: [&[u8]; ROWS], first: usize, to: &mut impl Keep);
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
