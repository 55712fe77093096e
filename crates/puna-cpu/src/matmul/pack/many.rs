//! Rows of steps of 32 values with all that belongs to a step side by side, for kernels that unpack the weights first.
//!
//! A row is its steps, then how many of them have a residual, which ones, in ascending order, and the residuals, each a
//! step like the others. Steps of 16-bit codes lose nothing worth a residual.

use super::{OUTLIER, STEP, WIDE_STEP, code_of, peak, rms, scale_of};

/// The largest 16-bit code: a multiple of 127, so that what 8 bits hold exactly, 16 bits do.
const WIDE_LARGEST: f32 = 127.0 * 256.0;

/// Where the residual of a row of `n_in` values begins.
pub(super) const fn residual_at(n_in: usize) -> usize {
    n_in.div_ceil(32) * STEP
}

/// Steps that the residual has room for: whatever can exceed [`OUTLIER`] times the root mean square, which one value in
/// [`OUTLIER`]² can. A row of more than 2¹⁶ steps has none: places are 16 bits.
const fn room(n_in: usize) -> usize {
    match n_in / 32 <= 1 << 16 {
        true => (n_in.div_ceil(32) * 32).div_ceil((OUTLIER * OUTLIER) as usize),
        false => 0,
    }
}

/// Bytes of the residual.
pub(super) const fn residual_bytes(n_in: usize) -> usize {
    4 + room(n_in) * (2 + STEP)
}

/// The steps of a row that have residuals.
#[derive(Clone, Copy)]
pub(crate) struct StepResidual<'a> {
    /// u16: the steps, in ascending order.
    pub(crate) places: &'a [[u8; 2]],
    /// Where in the row the first one's residual is; the others follow.
    pub(crate) at: usize,
}

/// The residual of a packed row.
#[inline(always)]
pub(super) fn residual(row: &[u8], n_in: usize) -> StepResidual<'_> {
    let (n, rest) = row[residual_at(n_in)..].split_at(4);
    let n = n.first_chunk().map_or(0, |n| u32::from_ne_bytes(*n)) as usize;
    let places = rest[..2 * room(n_in)].as_chunks::<2>().0;
    StepResidual { places: &places[..n.min(places.len())], at: residual_at(n_in) + 4 + 2 * room(n_in) }
}

/// Packs a row of whole blocks as codes of a byte.
#[inline(always)]
pub(super) fn quantize(x: &[f32], factor: f32, into: &mut [u8]) {
    let (steps, rest) = into.split_at_mut(residual_at(x.len()));
    let (n, rest) = rest.split_at_mut(4);
    let (places, residuals) = rest.split_at_mut(2 * room(x.len()));
    let (places, residuals) = (places.as_chunks_mut::<2>().0, residuals.as_chunks_mut::<STEP>().0);
    let threshold = OUTLIER * rms(x);
    let mut hits = 0;
    let blocks = x.as_chunks::<32>().0.iter().zip(steps.as_chunks_mut::<STEP>().0);
    for (s, (x, step)) in blocks.enumerate() {
        let d = put(x, factor, step);
        if peak(x) > threshold
            && let (Some(place), Some(residual)) = (places.get_mut(hits), residuals.get_mut(hits))
        {
            let mut lost = *x;
            for (lost, code) in lost.iter_mut().zip(&step[..32]) {
                *lost -= f32::from((code ^ 0x80) as i8) * d;
            }
            *place = (s as u16).to_ne_bytes();
            put(&lost, factor, residual);
            hits += 1;
        }
    }
    n.copy_from_slice(&(hits as u32).to_ne_bytes());
}

/// Writes a step; its scale without `factor`.
#[inline(always)]
fn put(x: &[f32; 32], factor: f32, step: &mut [u8; STEP]) -> f32 {
    let (unit, inverse) = scale_of(peak(x), 127.0);
    let mut codes = [0; 32];
    for (code, x) in codes.iter_mut().zip(x) {
        *code = code_of(*x, inverse) as i8;
    }
    for (to, code) in step.iter_mut().zip(codes) {
        *to = code as u8 ^ 0x80;
    }
    let d = unit * factor;
    let sum = |codes: &[i8]| f32::from(codes.iter().map(|&c| i16::from(c)).sum::<i16>());
    let (low, high) = (sum(&codes[..16]), sum(&codes[16..]));
    for (to, value) in step[32..].as_chunks_mut::<4>().0.iter_mut().zip([d, d * low, d * (low + high)]) {
        *to = value.to_ne_bytes();
    }
    unit
}

/// Packs a row of whole blocks as codes of 16 bits, of each four the first, the third, the second and the fourth.
#[inline(always)]
pub(super) fn quantize_wide(x: &[f32], factor: f32, into: &mut [u8]) {
    for (x, step) in x.as_chunks::<32>().0.iter().zip(into.as_chunks_mut::<WIDE_STEP>().0) {
        let (d, inverse) = scale_of(peak(x), WIDE_LARGEST);
        let (codes, rest) = step.split_at_mut(64);
        for (to, x) in codes.as_chunks_mut::<8>().0.iter_mut().zip(x.as_chunks().0) {
            let [a, b, c, d] = x.map(|x: f32| code_of(x, inverse) as i16);
            *to = bytemuck::cast([a, c, b, d]);
        }
        rest.copy_from_slice(&(d * factor).to_ne_bytes());
    }
}
