//! Rows of 8-bit codes that weights are multiplied with as they are unpacked.
//!
//! A row is a plane of codes: those of whole groups of 256 values, zeros at the end, their scales, the factors of these
//! ([`Form::Q8K`](super::Form::Q8K)), the sums of 16 codes each and, with factors, what belongs to whole steps. `N` is 32 or 256: the values of a block of the
//! weights' format, and to a scale. In rows of [`Form::Q8`](super::Form::Q8) there follow how many blocks have
//! residuals, the places of these blocks, and a plane of their residuals. In each eight of them the order is 0, 4, 1, 5
//! and so on, so that those that there are make as few pairs as can be.

use super::{MAX_FACTOR, OUTLIER, code_of, peak, rms, scale_of};
use core::array;

/// Codes with what belongs to them.
#[derive(Clone, Copy)]
pub(crate) struct Plane<'a> {
    /// One byte each, signed.
    pub(crate) codes: &'a [u8],
    /// F32 scales.
    pub(crate) d: &'a [u8],
    /// i16, for each half of 32 values; empty where scales have none.
    pub(crate) factors: &'a [u8],
    /// i16 sums of 16 codes.
    pub(crate) sums: &'a [u8],
    /// i16, for every 256 values: the factors of eight steps twice, then zeros as many and minus the sums of the eight. Empty
    /// where scales have no factors.
    pub(crate) steps: &'a [u8],
}

impl<'a> Plane<'a> {
    /// The plane of `n` values at the start of `bytes`, and what follows it.
    #[inline(always)]
    fn split<const N: usize>(bytes: &'a [u8], n: usize) -> (Self, &'a [u8]) {
        let (codes, rest) = bytes.split_at(n);
        let (d, rest) = rest.split_at(n / N * 4);
        let (factors, rest) = rest.split_at(factors_bytes::<N>(n));
        let (sums, rest) = rest.split_at(n / 16 * 2);
        let (steps, rest) = rest.split_at(steps_bytes::<N>(n));
        (Plane { codes, d, factors, sums, steps }, rest)
    }

    /// Chunk `i` of `N` bytes.
    #[inline(always)]
    pub(crate) fn chunk<'b, const N: usize>(&self, bytes: &'b [u8], i: usize) -> &'b [u8; N] {
        &bytes.as_chunks::<N>().0[i]
    }
}

/// A packed row.
#[derive(Clone, Copy)]
pub(crate) struct Q8Row<'a> {
    pub(crate) plane: Plane<'a>,
    /// Blocks of the residual that are of use.
    pub(crate) n_residual: usize,
    /// u16: which block of the row each block of the residual is of, eight to a group.
    pub(crate) places: &'a [[u8; 2]],
    pub(crate) residual: Plane<'a>,
}

impl Q8Row<'_> {
    /// Which block of the row block `i` of the residual is of.
    #[inline(always)]
    pub(crate) fn place(&self, i: usize) -> usize {
        usize::from(u16::from_ne_bytes(self.places[i]))
    }
}

/// Bytes of the factors of a plane.
const fn factors_bytes<const N: usize>(n: usize) -> usize {
    if N == 256 { n / 16 * 2 } else { 0 }
}

/// Bytes of what belongs to whole steps.
const fn steps_bytes<const N: usize>(n: usize) -> usize {
    if N == 256 { n / 256 * 64 } else { 0 }
}

const fn plane_bytes<const N: usize>(n: usize) -> usize {
    n + n / N * 4 + factors_bytes::<N>(n) + n / 16 * 2 + steps_bytes::<N>(n)
}

/// Values that the residual has room for, in groups of 256: whatever can exceed [`OUTLIER`] times the root mean square,
/// which one value in [`OUTLIER`]² can. A row of more than 2¹⁶ blocks has none: places are 16 bits.
const fn room<const N: usize>(n: usize) -> usize {
    match N == 32 && n / N <= 1 << 16 {
        true => (n / 256 * 32).div_ceil((OUTLIER * OUTLIER) as usize) * 256,
        false => 0,
    }
}

/// Bytes of a row of `n_in` values.
pub(super) const fn row_bytes<const N: usize>(n_in: usize) -> usize {
    let n = n_in.next_multiple_of(256);
    plane_bytes::<N>(n) + 4 + room::<N>(n) / N * 2 + plane_bytes::<N>(room::<N>(n))
}

/// The parts of a packed row.
#[inline(always)]
pub(super) fn row<const N: usize>(bytes: &[u8], n_in: usize) -> Q8Row<'_> {
    let n = n_in.next_multiple_of(256);
    let (plane, rest) = Plane::split::<N>(bytes, n);
    let (n_residual, rest) = rest.split_at(4);
    let (places, rest) = rest.split_at(room::<N>(n) / N * 2);
    let (residual, _) = Plane::split::<N>(rest, room::<N>(n));
    let n_residual = n_residual.first_chunk().map_or(0, |n| u32::from_ne_bytes(*n)) as usize;
    Q8Row { plane, n_residual, places: places.as_chunks().0, residual }
}

/// Packs a row of whole blocks.
#[inline(always)]
pub(super) fn quantize<const N: usize>(x: &[f32], factor: f32, into: &mut [u8]) {
    let n = x.len().next_multiple_of(256);
    let (plane, rest) = into.split_at_mut(plane_bytes::<N>(n));
    let (n_residual, rest) = rest.split_at_mut(4);
    let (places, rest) = rest.split_at_mut(room::<N>(n) / N * 2);
    let mut plane = PlaneMut::split::<N>(plane, n);
    let mut residual = PlaneMut::split::<N>(rest, room::<N>(n));
    let places = places.as_chunks_mut::<2>().0;
    let threshold = OUTLIER * rms(x);
    let mut hits = 0;
    let blocks = x.as_chunks::<N>().0;
    for (b, block) in blocks.iter().enumerate() {
        let scales = plane.put(b, block, factor);
        let slot = slot(hits);
        if peak(block) > threshold
            && let Some(place) = places.get_mut(slot)
        {
            *place = (b as u16).to_ne_bytes();
            residual.put(slot, &plane.lost(b, block, &scales), factor);
            hits += 1;
        }
    }
    for b in blocks.len()..n / N {
        plane.put(b, &[0.0; N], factor);
    }
    let used = hits.next_multiple_of(8);
    for slot in (hits..used).map(slot) {
        places[slot] = [0; 2];
        residual.put(slot, &[0.0; N], factor);
    }
    n_residual.copy_from_slice(&(hits as u32).to_ne_bytes());
    if N == 32 {
        pair(plane.codes);
        pair(&mut residual.codes[..used * N]);
    }
}

/// Where hit `i` is in the residual.
#[inline(always)]
const fn slot(i: usize) -> usize {
    i / 8 * 8 + i % 8 / 2 + i % 2 * 4
}

/// A plane as it is written.
struct PlaneMut<'a> {
    codes: &'a mut [u8],
    d: &'a mut [u8],
    factors: &'a mut [u8],
    sums: &'a mut [u8],
    steps: &'a mut [u8],
}

impl<'a> PlaneMut<'a> {
    #[inline(always)]
    fn split<const N: usize>(bytes: &'a mut [u8], n: usize) -> Self {
        let (codes, rest) = bytes.split_at_mut(n);
        let (d, rest) = rest.split_at_mut(n / N * 4);
        let (factors, rest) = rest.split_at_mut(factors_bytes::<N>(n));
        let (sums, rest) = rest.split_at_mut(n / 16 * 2);
        let (steps, _) = rest.split_at_mut(steps_bytes::<N>(n));
        PlaneMut { codes, d, factors, sums, steps }
    }

    /// Writes block `b`; the scales of its steps, without `factor`.
    #[inline(always)]
    fn put<const N: usize>(&mut self, b: usize, block: &[f32; N], factor: f32) -> [f32; 8] {
        let (d, scales) = self.scales(b, block);
        self.d[4 * b..4 * b + 4].copy_from_slice(&(d * factor).to_ne_bytes());
        let codes = &mut self.codes[N * b..N * (b + 1)];
        let sums = &mut self.sums[N / 8 * b..N / 8 * (b + 1)];
        let steps = block.as_chunks::<32>().0.iter().zip(codes.as_chunks_mut::<32>().0);
        for ((x, codes), scale) in steps.zip(&scales) {
            let inverse = if *scale > 0.0 { 1.0 / scale } else { 0.0 };
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
        if N == 256 {
            self.put_steps(b);
        }
        scales
    }

    /// Writes what belongs to the steps of block `b` once the rest is there.
    #[inline(always)]
    fn put_steps(&mut self, b: usize) {
        let of =
            |from: &[u8], i: usize| from.as_chunks().0.get(16 * b + i).map_or(0, |v| i16::from_ne_bytes(*v));
        let factors: [i16; 8] = array::from_fn(|s| of(self.factors, 2 * s));
        let minus: [i16; 8] = array::from_fn(|s| -(of(self.sums, 2 * s) + of(self.sums, 2 * s + 1)));
        let steps = [factors, factors, [0; 8], minus];
        self.steps[64 * b..64 * (b + 1)].copy_from_slice(bytemuck::bytes_of(&steps));
    }

    /// The scale of block `b` as it is stored, and those of its steps.
    #[inline(always)]
    fn scales<const N: usize>(&mut self, b: usize, block: &[f32; N]) -> (f32, [f32; 8]) {
        let (d, _) = scale_of(peak(block), 127.0);
        if N == 32 {
            return (d, [d; 8]);
        }
        let unit = d / f32::from(MAX_FACTOR);
        let steps = block.as_chunks::<32>().0;
        let factors: [i16; 8] = array::from_fn(|s| {
            // Zero for a block of zeros; anything for one that is not finite, whose scale is.
            let needed = libm::ceilf(peak(&steps[s % steps.len()]) / (127.0 * unit));
            (needed as i16).clamp(1, MAX_FACTOR)
        });
        let to = self.factors[4 * 8 * b..4 * 8 * (b + 1)].as_chunks_mut::<4>().0;
        for (to, factor) in to.iter_mut().zip(factors) {
            *to = bytemuck::cast([factor; 2]);
        }
        (unit, factors.map(|factor| unit * f32::from(factor)))
    }

    /// What block `b` is without what its codes stand for.
    #[inline(always)]
    fn lost<const N: usize>(&self, b: usize, block: &[f32; N], scales: &[f32; 8]) -> [f32; N] {
        let codes = &self.codes[N * b..N * (b + 1)];
        array::from_fn(|i| block[i] - f32::from(codes[i] as i8) * scales[i / 32])
    }
}

/// Puts the codes of every eight steps in the order that formats with 32 values to a block are multiplied in.
#[inline(always)]
fn pair(codes: &mut [u8]) {
    for codes in codes.as_chunks_mut::<256>().0 {
        let natural = *codes;
        for (s, step) in natural.as_chunks::<32>().0.iter().enumerate() {
            let at = s % 4 / 2 * 8 + s % 2 * 2 + s / 4;
            for (half, at) in step.as_chunks::<16>().0.iter().zip([at, at + 4]) {
                codes[16 * at..16 * at + 16].copy_from_slice(half);
            }
        }
    }
}
