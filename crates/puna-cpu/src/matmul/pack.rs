//! Activations as kernels read them: rows of floats, or of 8-bit integers under float scales.

use crate::kernels::lanes::{Kernel, Lanes};
use half::bf16;

/// How activations are packed for a product. Equal forms of equal rows are equal bytes and can be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Form {
    /// F32 as they are.
    F32,
    /// Rounded to BF16.
    Bf16,
    /// 8-bit codes, a scale for every 32.
    Q8,
    /// 8-bit codes, a scale for every 256.
    Q8K,
}

impl Form {
    /// Values to a scale.
    const fn group(self) -> usize {
        match self {
            Form::Q8K => 256,
            _ => 32,
        }
    }

    /// Values of a row, zeros at the end included: whole super-blocks, so that kernels need no remainders.
    const fn padded(self, n_in: usize) -> usize {
        match self {
            Form::F32 | Form::Bf16 => n_in.next_multiple_of(32),
            Form::Q8 | Form::Q8K => n_in.next_multiple_of(256),
        }
    }

    /// Bytes of a packed row.
    pub(crate) const fn row_bytes(self, n_in: usize) -> usize {
        let n = self.padded(n_in);
        let bytes = match self {
            Form::F32 => 4 * n,
            Form::Bf16 => 2 * n,
            Form::Q8 | Form::Q8K => n + n / self.group() * 4 + n / 16 * 2,
        };
        bytes.next_multiple_of(64)
    }
}

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
    /// Row `r`.
    pub(crate) fn row(&self, r: usize) -> &'a [u8] {
        let len = self.form.row_bytes(self.n_in);
        &self.bytes[r * len..(r + 1) * len]
    }

    /// Row `r` of 8-bit codes.
    pub(crate) fn q8(&self, r: usize) -> Q8Row<'a> {
        let n = self.form.padded(self.n_in);
        let (codes, rest) = self.row(r).split_at(n);
        let (d, rest) = rest.split_at(n / self.form.group() * 4);
        let steps_to_scale = self.form.group() / 32;
        Q8Row { codes, d, sums: &rest[..n / 16 * 2], steps_to_scale }
    }
}

/// A row of 8-bit codes, padded with zeros to whole super-blocks.
#[derive(Clone, Copy)]
pub(crate) struct Q8Row<'a> {
    /// One byte each, signed.
    pub(crate) codes: &'a [u8],
    /// f32 scales.
    pub(crate) d: &'a [u8],
    /// i16 sums of 16 codes.
    pub(crate) sums: &'a [u8],
    steps_to_scale: usize,
}

impl Q8Row<'_> {
    /// The codes of step `s`.
    #[inline(always)]
    pub(crate) fn step(&self, s: usize) -> &[u8; 32] {
        self.chunk(self.codes, s)
    }

    /// The scale of step `s`.
    #[inline(always)]
    pub(crate) fn scale(&self, s: usize) -> f32 {
        f32::from_ne_bytes(*self.chunk(self.d, s / self.steps_to_scale))
    }

    /// The sums of the halves of step `s`.
    #[inline(always)]
    pub(crate) fn sums(&self, s: usize) -> [i16; 2] {
        let [a, b, c, d] = *self.chunk::<4>(self.sums, s);
        [i16::from_ne_bytes([a, b]), i16::from_ne_bytes([c, d])]
    }

    /// Chunk `i` of `N` bytes.
    #[inline(always)]
    pub(crate) fn chunk<'a, const N: usize>(&self, bytes: &'a [u8], i: usize) -> &'a [u8; N] {
        &bytes.as_chunks::<N>().0[i]
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
                    *to = bf16::from_f32(x * factor).to_ne_bytes();
                }
                rest.fill(0);
            }
            Form::Q8 => quantize::<32>(form.padded(x.len()), x, factor, into),
            Form::Q8K => quantize::<256>(form.padded(x.len()), x, factor, into),
        }
    }
}

/// Codes of ±127 in groups of `N`, their scales and sums; `x` is whole groups, `n` values are written.
#[inline(always)]
fn quantize<const N: usize>(n: usize, x: &[f32], factor: f32, into: &mut [u8]) {
    let (codes, rest) = into.split_at_mut(n);
    let (scales, rest) = rest.split_at_mut(n / N * 4);
    let (sums, rest) = rest.split_at_mut(n / 16 * 2);
    rest.fill(0);
    let groups = x.as_chunks::<N>().0;
    let scales = scales.as_chunks_mut::<4>().0.iter_mut();
    for (i, (codes, scale)) in codes.as_chunks_mut::<N>().0.iter_mut().zip(scales).enumerate() {
        let x = groups.get(i).unwrap_or(&[0.0; N]);
        let (d, inverse) = scale_of(x);
        *scale = (d * factor).to_ne_bytes();
        for (code, x) in codes.iter_mut().zip(x) {
            // Adding 1.5 · 2²³ leaves the nearest integer in the low bits of the sum.
            *code = (x * inverse + 12_582_912.0).to_bits() as u8;
        }
    }
    for (sum, codes) in sums.as_chunks_mut::<2>().0.iter_mut().zip(codes.as_chunks::<16>().0) {
        let mut total = 0;
        for &code in codes {
            total += i16::from(code as i8);
        }
        *sum = total.to_ne_bytes();
    }
}

/// The scale that brings the largest magnitude of `x` to 127, and its inverse.
///
/// It is NaN if a value is not finite, so that the products are NaN too, and 0 for values below 2⁻¹⁰⁰.
#[inline(always)]
fn scale_of(x: &[f32]) -> (f32, f32) {
    // As integers, magnitudes compare as the floats do, and infinities and NaNs are the largest.
    let mut peak = 0;
    for x in x {
        peak = peak.max(x.to_bits() & 0x7FFF_FFFF);
    }
    match f32::from_bits(peak) {
        peak if !peak.is_finite() => (f32::NAN, 0.0),
        peak if peak < f32::from_bits((127 - 100) << 23) => (0.0, 0.0),
        peak => (peak / 127.0, 127.0 / peak),
    }
}
