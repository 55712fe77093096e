//! Activations as kernels read them: rows of floats, or of 8-bit integers under float scales.
//!
//! Eight bits lose little where the values of a group are of one size. A few blocks hold values that tower above the
//! rest of their row, and their scale leaves the others next to nothing. Where the largest value of 32 exceeds
//! [`OUTLIER`] times the root mean square of the row, what the codes have lost is packed a second time as a residual,
//! and the kernels add the products with it: those for many rows of all formats, those for few rows of formats with 32
//! values to a block.
//!
//! SmolLM2-135M-Instruct, Q4_1, the first 48 kB of Genesis, perplexity with F32 activations 8.0023: 8.0252 with a
//! threshold of 12, 8.0107 with 8. Mean divergence from F32 activations over three pieces of the text, without residuals
//! and with them: Q4_1 4.3e-3, 1.5e-3 (1.9e-3 with 12); Q4_0 4.8e-3, 1.6e-3; Q4_K_M 8.7e-3, 1.8e-3, most of it from
//! scales of 32 values where 256 had one; Q6_K 8.0e-3, 5.3e-4; Q8_0 4.3e-3, 5.0e-6, from 16-bit codes. With a threshold
//! of 8, one block in 20 has a residual, of 6 one in 12. Decode of this small model became no slower, prefill 10 %.

mod few;
mod many;

use crate::kernels::lanes::{Kernel, Lanes};
pub(crate) use few::{Plane, Q8Row};
pub(crate) use many::StepResidual;

/// How far above the root mean square of its row a value must be for a residual.
const OUTLIER: f32 = 8.0;

/// How activations are packed for a product. Equal forms of equal rows are equal bytes and can be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Form {
    /// F32 as they are.
    F32,
    /// Rounded to BF16.
    Bf16,
    /// 8-bit codes for few rows, a scale for every 32. In each 256, steps of 32 are paired as the kernels of formats with
    /// 32 values to a block multiply them: the first halves of steps 0 and 4, 1 and 5, their last halves, then the same of
    /// steps 2 and 6, 3 and 7.
    Q8,
    /// 8-bit codes for few rows, a scale for every 256 and an integer factor of it, up to [`MAX_FACTOR`], for every 32.
    Q8K,
    /// Codes for many rows, in steps of 32 with all that belongs to a step side by side.
    Steps {
        /// Whether a code is one of 16 bits. Of each four the second and the third have changed places then.
        wide: bool,
    },
}

/// The largest factor of a scale in [`Form::Q8K`]: that of the step that holds the largest value of the 256. With it
/// no sum of products of a block overflows 32 bits.
const MAX_FACTOR: i16 = 32;

impl Form {
    /// Bytes of a packed row.
    pub(crate) const fn row_bytes(self, n_in: usize) -> usize {
        let padded = n_in.next_multiple_of(32);
        let bytes = match self {
            Form::F32 => 4 * padded,
            Form::Bf16 => 2 * padded,
            Form::Q8 => few::row_bytes::<32>(n_in),
            Form::Q8K => few::row_bytes::<256>(n_in),
            Form::Steps { wide: false } => many::residual_at(n_in) + many::residual_bytes(n_in),
            Form::Steps { wide: true } => padded / 32 * WIDE_STEP,
        };
        // An odd number of cache lines, or rows of a power of two would fight for the same sets of the cache.
        bytes.next_multiple_of(64) | 64
    }
}

/// Bytes of a step: 32 codes with 128 added to each, their F32 scale, and the scale times the sum of the first 16 codes
/// and times the sum of all.
pub(crate) const STEP: usize = 32 + 4 + 8;
/// Bytes of a step of 16-bit codes: 32 codes and their scale.
pub(crate) const WIDE_STEP: usize = 64 + 4;

/// Packed rows.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    /// Their form.
    pub form: Form,
    /// Number of rows.
    pub n_rows: usize,
    /// Values of a row.
    pub n_in: usize,
    /// `n_rows` times [`Kernels::packed_len`](super::Kernels::packed_len) bytes.
    pub bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    /// Bytes from one row to the next.
    pub(crate) fn row_bytes(&self) -> usize {
        self.form.row_bytes(self.n_in)
    }

    /// Row `r`.
    pub(crate) fn row(&self, r: usize) -> &'a [u8] {
        let len = self.row_bytes();
        &self.bytes[r * len..(r + 1) * len]
    }

    /// Row `r` of 8-bit codes for few rows.
    #[inline(always)]
    pub(crate) fn q8(&self, r: usize) -> Q8Row<'a> {
        match self.form {
            Form::Q8K => few::row::<256>(self.row(r), self.n_in),
            _ => few::row::<32>(self.row(r), self.n_in),
        }
    }

    /// The residual of a row of steps.
    #[inline(always)]
    pub(crate) fn step_residual(&self, row: &'a [u8]) -> StepResidual<'a> {
        many::residual(row, self.n_in)
    }
}

/// Packs a row, as [`Kernels::pack`](super::Kernels::pack) describes.
pub(crate) struct Pack<'a> {
    pub(crate) form: Form,
    pub(crate) x: &'a [f32],
    pub(crate) factor: f32,
    pub(crate) into: &'a mut [u8],
}

impl Kernel for Pack<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let Self { form, x, factor, into } = self;
        match form {
            Form::F32 => {
                let (values, rest) = into.split_at_mut(4 * x.len());
                for (to, x) in values.as_chunks_mut::<4>().0.iter_mut().zip(x) {
                    *to = (x * factor).to_ne_bytes();
                }
                rest.fill(0);
            }
            Form::Bf16 => {
                let (values, rest) = into.split_at_mut(2 * x.len());
                for (to, x) in values.as_chunks_mut::<2>().0.iter_mut().zip(x) {
                    *to = bf16_bits(x * factor).to_ne_bytes();
                }
                rest.fill(0);
            }
            Form::Q8 => few::quantize::<32>(x, factor, into),
            Form::Q8K => few::quantize::<256>(x, factor, into),
            Form::Steps { wide: false } => many::quantize(x, factor, into),
            Form::Steps { wide: true } => many::quantize_wide(x, factor, into),
        }
    }
}

/// `x` rounded to BF16, as [`half::bf16::from_f32`] does it, without branches: the compiler can put this into lanes.
#[inline(always)]
fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1));
    (if x.is_nan() { bits | 0x40_0000 } else { rounded } >> 16) as u16
}

/// The integer nearest to `x * inverse`, of up to 16 bits, or anything if that is not finite.
#[inline(always)]
fn code_of(x: f32, inverse: f32) -> i32 {
    // Adding 1.5 · 2²³ leaves the nearest integer in the low bits of the sum.
    (x * inverse + 12_582_912.0).to_bits() as i32
}

/// The largest magnitude; not finite if a value is not.
#[inline(always)]
fn peak(x: &[f32]) -> f32 {
    // As integers, magnitudes compare as the floats do, and infinities and NaNs are the largest.
    let mut peak = 0;
    for x in x {
        peak = peak.max(x.to_bits() & 0x7FFF_FFFF);
    }
    f32::from_bits(peak)
}

/// The root mean square, or anything if a value is not finite.
#[inline(always)]
fn rms(x: &[f32]) -> f32 {
    // Sums side by side, for the compiler to put into lanes; the order is the same on all processors.
    let mut sums = [0.0; 32];
    for x in x.as_chunks::<32>().0 {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += x * x;
        }
    }
    libm::sqrtf(sums.iter().sum::<f32>() / x.len().max(1) as f32)
}

/// The scale that brings a largest magnitude of `peak` to `largest`, and its inverse.
///
/// It is NaN if `peak` is not finite, so that the products are NaN too, and 0 for values below 2⁻¹⁰⁰.
#[inline(always)]
fn scale_of(peak: f32, largest: f32) -> (f32, f32) {
    match peak {
        peak if !peak.is_finite() => (f32::NAN, 0.0),
        peak if peak < f32::from_bits((127 - 100) << 23) => (0.0, 0.0),
        peak => (peak / largest, largest / peak),
    }
}

#[cfg(test)]
mod tests {
    use super::bf16_bits;

    #[test]
    fn bf16_is_rounded_as_elsewhere() {
        let some = (0..=u32::MAX).step_by(65_519).chain([0x7F7F_FFFF, 0x7F80_0000, 0x7F80_0001, 0xFFFF_FFFF]);
        for x in some.map(f32::from_bits) {
            assert_eq!(bf16_bits(x), half::bf16::from_f32(x).to_bits(), "{x:e}");
        }
    }
}
