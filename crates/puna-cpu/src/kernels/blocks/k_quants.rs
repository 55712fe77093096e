//! Formats of 256 values with integer scales for sub-blocks: Q2_K to Q6_K and IQ4_XS.

use super::{Affine, AffineHalves, Block, Step, Symmetric, SymmetricHalves, bytes_at, f16_at};
use crate::kernels::dot::{Super, SuperBlocks};
use crate::kernels::lanes::Lanes;
use puna_core::quant::{iq4_xs, q2_k, q3_k, q4_k, q5_k, q6_k};

macro_rules! k_quant {
    // Codes are stored with `$zero` added.
    ($name:ident, $module:ident, $shape:ty, $zero:literal,
     |$l:ident, $block:ident, $steps:ident| $unpack:block) => {
        #[allow(non_camel_case_types, reason = "the name is that of the format")]
        pub(crate) struct $name;

        impl Block for $name {
            const BYTES: usize = $module::BYTES;
            const STEPS: usize = 8;
            type Shape = $shape;
            type Dot = SuperBlocks<Self>;

            #[inline(always)]
            fn unpack<L: Lanes>($l: L, $block: &[u8], $steps: &mut [Step; 8]) {
                $unpack
            }
            #[inline(always)]
            fn step_codes<L: Lanes>(l: L, block: &[u8], s: usize, _: &Step) -> L::V {
                l.sub8(<Self as Super>::codes(l, block, s), l.splat8($zero))
            }
        }
    };
}

k_quant!(Q2_K, q2_k, AffineHalves, 0, |l, block, steps| {
    let (d, dmin) = (f16_at(l, block, q2_k::D), f16_at(l, block, q2_k::DMIN));
    let packed: &[u8; 16] = bytes_at(block, q2_k::SCALES);
    for (step, [a, b]) in steps.iter_mut().zip(packed.as_chunks().0) {
        step.scale = [d * f32::from(a & 15), d * f32::from(b & 15)];
        step.min = [dmin * f32::from(a >> 4), dmin * f32::from(b >> 4)];
    }
});

k_quant!(Q3_K, q3_k, SymmetricHalves<16>, 4, |l, block, steps| {
    let d = f16_at(l, block, q3_k::D);
    let scales = q3_k::unpack_scales(bytes_at(block, q3_k::SCALES));
    for (step, &[a, b]) in steps.iter_mut().zip(scales.as_chunks().0) {
        step.scale = [d * f32::from(a), d * f32::from(b)];
    }
});

/// Scales and minima of Q4_K and Q5_K, for codes less `zero`.
#[inline(always)]
fn affine(d: f32, dmin: f32, packed: &[u8; 12], zero: f32, steps: &mut [Step; 8]) {
    let (scales, mins) = q4_k::unpack_scales(packed);
    for (step, (scale, min)) in steps.iter_mut().zip(scales.into_iter().zip(mins)) {
        let scale = d * f32::from(scale);
        step.scale = [scale; 2];
        step.min = [dmin * f32::from(min) - zero * scale; 2];
    }
}

k_quant!(Q4_K, q4_k, Affine, 8, |l, block, steps| {
    let (d, dmin) = (f16_at(l, block, q4_k::D), f16_at(l, block, q4_k::DMIN));
    affine(d, dmin, bytes_at(block, q4_k::SCALES), 8.0, steps);
});

k_quant!(Q5_K, q5_k, Affine, 16, |l, block, steps| {
    let (d, dmin) = (f16_at(l, block, q5_k::D), f16_at(l, block, q5_k::DMIN));
    affine(d, dmin, bytes_at(block, q5_k::SCALES), 16.0, steps);
});

k_quant!(Q6_K, q6_k, SymmetricHalves<32>, 32, |l, block, steps| {
    let d = f16_at(l, block, q6_k::D);
    let scales: &[u8; 16] = bytes_at(block, q6_k::SCALES);
    for (step, &[a, b]) in steps.iter_mut().zip(scales.as_chunks().0) {
        step.scale = [d * f32::from(a as i8), d * f32::from(b as i8)];
    }
});

k_quant!(IQ4_XS, iq4_xs, Symmetric<128>, 0, |l, block, steps| {
    let d = f16_at(l, block, iq4_xs::D);
    for (step, scale) in steps.iter_mut().zip(iq4_xs::scales(bytes_at(block, 0))) {
        step.scale = [d * f32::from(scale); 2];
    }
});
