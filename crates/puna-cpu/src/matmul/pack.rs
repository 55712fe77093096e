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
    /// 8-bit codes for few rows, a scale for every 32. In each 256, steps of 32 are paired as the kernels of formats with
    /// 32 values to a block multiply them: the first halves of steps 0 and 4, their last halves, then steps 1 and 5, and
    /// so on.
    Q8,
    /// 8-bit codes for few rows, a scale for every 256.
    Q8K,
    /// The same codes for many rows, in steps of 32 with all that belongs to a step side by side.
    Steps {
        /// Values to a scale: 32 or 256.
        group: usize,
        /// Whether a code takes 16 bits.
        wide: bool,
    },
}

impl Form {
    /// Values to a scale.
    const fn group(self) -> usize {
        match self {
            Form::Q8K => 256,
            Form::Steps { group, .. } => group,
            _ => 32,
        }
    }

    /// Bytes of a value.
    pub(crate) const fn value_bytes(self) -> usize {
        match self {
            Form::F32 => 4,
            Form::Bf16 => 2,
            Form::Steps { wide: true, .. } => 2,
            Form::Q8 | Form::Q8K | Form::Steps { .. } => 1,
        }
    }

    /// Values of a row, zeros at the end included: whole super-blocks, so that kernels need no remainders.
    const fn padded(self, n_in: usize) -> usize {
        match self {
            Form::F32 | Form::Bf16 | Form::Steps { .. } => n_in.next_multiple_of(32),
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
            Form::Steps { wide: false, .. } => n / 32 * STEP,
            Form::Steps { wide: true, .. } => n / 32 * WIDE_STEP,
        };
        // An odd number of cache lines, or rows of a power of two would fight for the same sets of the cache.
        bytes.next_multiple_of(64) | 64
    }
}

/// Bytes of a step: 32 codes with 128 added to each, their F32 scale, and the scale times the sum of each half's codes.
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
    /// The codes of step `s`, where steps are not paired.
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

/// Where the halves of step `s` are in [`Form::Q8`], in units of a half.
#[inline(always)]
const fn paired_halves(s: usize) -> [usize; 2] {
    let first = s / 8 * 16 + s % 4 * 4 + s % 8 / 4;
    [first, first + 2]
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
            Form::Steps { group: 256, wide } => steps::<256>(x, factor, wide, into),
            Form::Steps { wide, .. } => steps::<32>(x, factor, wide, into),
        }
    }
}

/// Quantises as [`quantize`] does, to steps; `x` is whole groups of `N`.
#[inline(always)]
fn steps<const N: usize>(x: &[f32], factor: f32, wide: bool, into: &mut [u8]) {
    if wide {
        let mut into = into.as_chunks_mut::<WIDE_STEP>().0.iter_mut();
        for x in x.as_chunks::<N>().0 {
            let (d, inverse) = scale_of(x);
            for (x, step) in x.as_chunks::<32>().0.iter().zip(&mut into) {
                let (codes, rest) = step.split_at_mut(64);
                for (to, code) in codes.as_chunks_mut::<2>().0.iter_mut().zip(codes_of(x, inverse)) {
                    *to = i16::from(code).to_ne_bytes();
                }
                rest.copy_from_slice(&(d * factor).to_ne_bytes());
            }
        }
        return;
    }
    let mut into = into.as_chunks_mut::<STEP>().0.iter_mut();
    for x in x.as_chunks::<N>().0 {
        let (d, inverse) = scale_of(x);
        let d = d * factor;
        for (x, step) in x.as_chunks::<32>().0.iter().zip(&mut into) {
            let codes = codes_of(x, inverse);
            for (to, code) in step.iter_mut().zip(codes) {
                *to = code as u8 ^ 0x80;
            }
            let (halves, _) = codes.as_chunks::<16>();
            let mut rest = step[32..].as_chunks_mut::<4>().0.iter_mut();
            let sums = halves.iter().map(|half| d * half.iter().map(|&c| i16::from(c)).sum::<i16>() as f32);
            for (value, to) in core::iter::once(d).chain(sums).zip(&mut rest) {
                *to = value.to_ne_bytes();
            }
        }
    }
}

#[inline(always)]
fn codes_of(x: &[f32; 32], inverse: f32) -> [i8; 32] {
    let mut codes = [0; 32];
    for (code, x) in codes.iter_mut().zip(x) {
        *code = code_of(*x, inverse);
    }
    codes
}

/// The integer nearest to `x * inverse`, which is within ±127, or anything if that is not finite.
#[inline(always)]
fn code_of(x: f32, inverse: f32) -> i8 {
    // Adding 1.5 · 2²³ leaves the nearest integer in the low bits of the sum.
    (x * inverse + 12_582_912.0).to_bits() as i8
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
            *code = code_of(*x, inverse) as u8;
        }
    }
    for (sum, codes) in sums.as_chunks_mut::<2>().0.iter_mut().zip(codes.as_chunks::<16>().0) {
        let mut total = 0;
        for &code in codes {
            total += i16::from(code as i8);
        }
        *sum = total.to_ne_bytes();
    }
    if N == 32 {
        for codes in codes.as_chunks_mut::<256>().0 {
            let natural = *codes;
            for (s, step) in natural.as_chunks::<32>().0.iter().enumerate() {
                for (half, at) in step.as_chunks::<16>().0.iter().zip(paired_halves(s)) {
                    codes[16 * at..16 * at + 16].copy_from_slice(half);
                }
            }
        }
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
