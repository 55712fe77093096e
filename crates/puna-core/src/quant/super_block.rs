//! Fitting of 256-value super-blocks: sub-block scales that are themselves quantised against an f16 scale.

use super::fit::{Affine, FINE, Linear, Search, inverse, mean_square, nearest, peak, weigh};
use super::layout::through_f16;

/// Values in a super-block.
pub(super) const LEN: usize = 256;

/// The affine formats Q2_K, Q4_K and Q5_K: `y = d · scales[s] · q − dmin · mins[s]`.
pub(super) struct AffineBlock<const SUBS: usize> {
    pub(super) d: f32,
    pub(super) dmin: f32,
    pub(super) scales: [u8; SUBS],
    pub(super) mins: [u8; SUBS],
    pub(super) q: [u8; LEN],
}

/// What distinguishes the affine formats.
pub(super) struct AffineKind {
    /// Largest code of a value.
    pub(super) q_max: u8,
    /// Largest code of a scale or min.
    pub(super) scale_max: i8,
    /// Search without importance.
    pub(super) search: Search,
    /// Without importance: weights |x| and absolute errors (2 bits), instead of rms + |x| and squares.
    pub(super) absolute: bool,
    /// Multiple of the block's mean square in the weights with importance.
    pub(super) level: f32,
}

impl<const SUBS: usize> AffineBlock<SUBS> {
    /// Fits a super-block of `SUBS` sub-blocks of `N` values.
    pub(super) fn fit<const N: usize>(
        x: &[f32; LEN],
        importance: Option<&[f32; LEN]>,
        kind: &AffineKind,
    ) -> Self {
        const { assert!(SUBS * N == LEN) };
        let level = kind.level * mean_square(x);
        let (mut scales, mut mins, mut weight) = ([0.0; SUBS], [0.0; SUBS], [0.0; SUBS]);
        for (s, x) in x.as_chunks::<N>().0.iter().enumerate() {
            let fit = if let Some(importance) = importance {
                let w = weigh(x, &importance.as_chunks().0[s], level);
                weight[s] = w.iter().sum();
                Affine::fit(x, &w, kind.q_max, &FINE, |e| e * e)
            } else if kind.absolute {
                Affine::fit(x, &x.map(f32::abs), kind.q_max, &kind.search, f32::abs)
            } else {
                let rms = libm::sqrtf(mean_square(x));
                Affine::fit(x, &x.map(|v| rms + v.abs()), kind.q_max, &kind.search, |e| e * e)
            };
            (scales[s], mins[s]) = (fit.scale, -fit.min);
        }
        let weight = importance.is_some().then_some(&weight);
        let (d, scales) = unsigned_codes(&scales, weight, kind.scale_max);
        let (dmin, mins) = unsigned_codes(&mins, weight, kind.scale_max);

        let mut q = [0; LEN];
        for (s, (x, q)) in x.as_chunks::<N>().0.iter().zip(q.as_chunks_mut::<N>().0).enumerate() {
            let inverse = inverse(d * f32::from(scales[s]));
            let min = dmin * f32::from(mins[s]);
            *q = x.map(|v| nearest((v + min) * inverse).clamp(0, kind.q_max.into()) as u8);
        }
        AffineBlock { d, dmin, scales, mins, q }
    }
}

/// Non-negative scales as codes `0..=max` of an f16 step.
fn unsigned_codes<const S: usize>(scales: &[f32; S], weight: Option<&[f32; S]>, max: i8) -> (f32, [u8; S]) {
    if let Some(weight) = weight {
        let fit = Linear::unsigned(scales, weight, max);
        return (through_f16(fit.scale), fit.q.map(i8::unsigned_abs));
    }
    let step = scales.iter().copied().fold(0.0, f32::max) / f32::from(max);
    let inverse = inverse(step);
    (through_f16(step), scales.map(|s| nearest(s * inverse).clamp(0, max.into()) as u8))
}

/// The symmetric formats Q3_K and Q6_K: 16 sub-blocks, `y = d · scales[s] · q`.
pub(super) struct SymmetricBlock {
    pub(super) d: f32,
    pub(super) scales: [i8; 16],
    pub(super) q: [i8; LEN],
}

impl SymmetricBlock {
    /// Quantises `x` with codes `-half..half` under scales that are `d` times `codes`.
    pub(super) fn new(x: &[f32; LEN], d: f32, scales: [i8; 16], half: i8) -> Self {
        let (lo, hi) = (-i32::from(half), i32::from(half) - 1);
        let d = through_f16(d);
        let mut q = [0; LEN];
        for (s, (x, q)) in x.as_chunks::<16>().0.iter().zip(q.as_chunks_mut::<16>().0).enumerate() {
            let inverse = inverse(d * f32::from(scales[s]));
            *q = x.map(|v| nearest(v * inverse).clamp(lo, hi) as i8);
        }
        SymmetricBlock { d, scales, q }
    }
}

/// Signed scales as codes `-half..half` of a step that puts the largest at `-half`.
pub(super) fn signed_codes<const S: usize>(scales: &[f32; S], half: i16) -> (f32, [i8; S]) {
    let step = -peak(scales) / f32::from(half);
    let inverse = inverse(step);
    let half = i32::from(half);
    (step, scales.map(|s| nearest(s * inverse).clamp(-half, half - 1) as i8))
}
