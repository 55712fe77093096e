//! Formats of 256 values with integer scales for sub-blocks: Q2_K to Q6_K and IQ4_XS.

use super::{Affine, AffineHalves, Block, Step, Symmetric, SymmetricHalves, bytes_at, f16_at};
use crate::kernels::dot::SuperBlocks;
use puna_core::quant::{iq4_nl, iq4_xs, q2_k, q3_k, q4_k, q5_k, q6_k};

macro_rules! k_quant {
    ($name:ident, $module:ident, $shape:ty,
     |$block:ident, $steps:ident| $unpack:block) => {
        #[allow(non_camel_case_types, reason = "the name is that of the format")]
        pub(crate) struct $name;

        impl Block for $name {
            const BYTES: usize = $module::BYTES;
            const STEPS: usize = 8;
            type Shape = $shape;
            type Dot = SuperBlocks<Self>;

            #[inline(always)]
            fn unpack($block: &[u8], $steps: &mut [Step; 8]) {
                $unpack
            }
        }
    };
}

k_quant!(Q2_K, q2_k, AffineHalves, |block, steps| {
    let (d, dmin) = (f16_at(block, q2_k::D), f16_at(block, q2_k::DMIN));
    for (s, step) in steps.iter_mut().enumerate() {
        let qs: &[u8; 32] = bytes_at(block, q2_k::QS + 32 * (s / 4));
        for (code, q) in step.codes.iter_mut().zip(qs) {
            *code = (q >> (2 * (s % 4)) & 3) as i8;
        }
        for half in 0..2 {
            let packed = block[q2_k::SCALES + 2 * s + half];
            step.scale[half] = d * f32::from(packed & 15);
            step.min[half] = dmin * f32::from(packed >> 4);
        }
    }
});

k_quant!(Q3_K, q3_k, SymmetricHalves<16>, |block, steps| {
    let d = f16_at(block, q3_k::D);
    let scales = q3_k::unpack_scales(bytes_at(block, q3_k::SCALES));
    let high: &[u8; 32] = bytes_at(block, q3_k::HMASK);
    for (s, step) in steps.iter_mut().enumerate() {
        let qs: &[u8; 32] = bytes_at(block, q3_k::QS + 32 * (s / 4));
        for ((code, q), high) in step.codes.iter_mut().zip(qs).zip(high) {
            *code = ((q >> (2 * (s % 4)) & 3) | (high >> s & 1) << 2) as i8 - 4;
        }
        step.scale = [d * f32::from(scales[2 * s]), d * f32::from(scales[2 * s + 1])];
    }
});

/// Scale and minimum of step `s` in Q4_K and Q5_K, for codes less `zero`.
#[inline(always)]
fn affine(step: &mut Step, scale: f32, min: f32, zero: f32) {
    step.scale = [scale; 2];
    step.min = [min - zero * scale; 2];
}

k_quant!(Q4_K, q4_k, Affine, |block, steps| {
    let (d, dmin) = (f16_at(block, q4_k::D), f16_at(block, q4_k::DMIN));
    let (scales, mins) = q4_k::unpack_scales(bytes_at(block, q4_k::SCALES));
    for (s, step) in steps.iter_mut().enumerate() {
        let qs: &[u8; 32] = bytes_at(block, q4_k::QS + 32 * (s / 2));
        for (code, q) in step.codes.iter_mut().zip(qs) {
            *code = (q >> (4 * (s % 2)) & 15) as i8 - 8;
        }
        affine(step, d * f32::from(scales[s]), dmin * f32::from(mins[s]), 8.0);
    }
});

k_quant!(Q5_K, q5_k, Affine, |block, steps| {
    let (d, dmin) = (f16_at(block, q5_k::D), f16_at(block, q5_k::DMIN));
    let (scales, mins) = q4_k::unpack_scales(bytes_at(block, q5_k::SCALES));
    let high: &[u8; 32] = bytes_at(block, q5_k::QH);
    for (s, step) in steps.iter_mut().enumerate() {
        let qs: &[u8; 32] = bytes_at(block, q5_k::QS + 32 * (s / 2));
        for ((code, q), high) in step.codes.iter_mut().zip(qs).zip(high) {
            *code = ((q >> (4 * (s % 2)) & 15) | (high >> s & 1) << 4) as i8 - 16;
        }
        affine(step, d * f32::from(scales[s]), dmin * f32::from(mins[s]), 16.0);
    }
});

k_quant!(Q6_K, q6_k, SymmetricHalves<32>, |block, steps| {
    let d = f16_at(block, q6_k::D);
    for (s, step) in steps.iter_mut().enumerate() {
        let (half, g) = (s / 4, s % 4);
        let low: &[u8; 32] = bytes_at(block, q6_k::QL + 64 * half + 32 * (g % 2));
        let high: &[u8; 32] = bytes_at(block, q6_k::QH + 32 * half);
        for ((code, low), high) in step.codes.iter_mut().zip(low).zip(high) {
            *code = ((low >> (4 * (g / 2)) & 15) | (high >> (2 * g) & 3) << 4) as i8 - 32;
        }
        let scale = |i: usize| d * f32::from(block[q6_k::SCALES + i] as i8);
        step.scale = [scale(2 * s), scale(2 * s + 1)];
    }
});

k_quant!(IQ4_XS, iq4_xs, Symmetric<128>, |block, steps| {
    let d = f16_at(block, iq4_xs::D);
    let scales = iq4_xs::scales(bytes_at(block, 0));
    for (s, step) in steps.iter_mut().enumerate() {
        let qs: &[u8; 16] = bytes_at(block, iq4_xs::QS + 16 * s);
        for (i, q) in qs.iter().enumerate() {
            step.codes[i] = iq4_nl::VALUES[usize::from(q & 15)];
            step.codes[16 + i] = iq4_nl::VALUES[usize::from(q >> 4)];
        }
        step.scale = [d * f32::from(scales[s]); 2];
    }
});
