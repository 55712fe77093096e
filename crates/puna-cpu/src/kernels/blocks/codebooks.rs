//! Formats of 256 values that index codebooks: IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S.

use super::{Block, Step, Symmetric, SymmetricHalves, bytes_at, f16_at};
use crate::kernels::dot::Any;
use half::f16;
use puna_core::quant::codebook::{self, even_signs};
use puna_core::quant::{iq1_m, iq1_s, iq2_s, iq2_xs, iq2_xxs, iq3_s, iq3_xxs};

/// Writes `entry`, negated where `signs` has a 1, the first value lowest.
#[inline(always)]
fn put_signed(codes: &mut [i8], entry: &[i8], signs: u8) {
    for (j, (code, level)) in codes.iter_mut().zip(entry).enumerate() {
        let minus = -((signs >> j & 1) as i8);
        *code = (level ^ minus) - minus;
    }
}

/// Writes 8 times `level ± 1/8`.
#[inline(always)]
fn put_shifted(codes: &mut [i8], index: usize, negative: bool) {
    let shift = if negative { -1 } else { 1 };
    for (code, level) in codes.iter_mut().zip(&codebook::IQ1[index & 2047]) {
        *code = 8 * level + shift;
    }
}

#[inline(always)]
fn u16_at(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

#[inline(always)]
fn nibble(bytes: &[u8], i: usize) -> u8 {
    bytes[i / 2] >> (4 * (i % 2)) & 15
}

macro_rules! codebook_format {
    ($name:ident, $module:ident, $shape:ty, |$block:ident, $steps:ident| $unpack:block) => {
        #[allow(non_camel_case_types, reason = "the name is that of the format")]
        pub(crate) struct $name;

        impl Block for $name {
            const BYTES: usize = $module::BYTES;
            const STEPS: usize = 8;
            type Shape = $shape;
            type Dot = Any<Self>;

            #[inline(always)]
            fn unpack($block: &[u8], $steps: &mut [Step; 8]) {
                $unpack
            }
        }
    };
}

codebook_format!(IQ2_XXS, iq2_xxs, Symmetric<64>, |block, steps| {
    let d = f16_at(block, iq2_xxs::D);
    for (s, step) in steps.iter_mut().enumerate() {
        let group: &[u8; 8] = bytes_at(block, iq2_xxs::GROUPS + 8 * s);
        let tail = u32::from_le_bytes([group[4], group[5], group[6], group[7]]);
        for (l, codes) in step.codes.chunks_exact_mut(8).enumerate() {
            put_signed(codes, &codebook::IQ2_XXS[usize::from(group[l])], even_signs(tail >> (7 * l)));
        }
        step.scale = [d * (0.5 + (tail >> 28) as f32) * 0.25; 2];
    }
});

codebook_format!(IQ2_XS, iq2_xs, SymmetricHalves<64>, |block, steps| {
    let d = f16_at(block, iq2_xs::D);
    for (s, step) in steps.iter_mut().enumerate() {
        for (l, codes) in step.codes.chunks_exact_mut(8).enumerate() {
            let q = u16_at(block, iq2_xs::QS + 2 * (4 * s + l));
            put_signed(codes, &codebook::IQ2_XS[usize::from(q & 511)], even_signs(u32::from(q >> 9)));
        }
        let scale = |half| d * (0.5 + f32::from(nibble(&block[iq2_xs::SCALES..], 2 * s + half))) * 0.25;
        step.scale = [scale(0), scale(1)];
    }
});

codebook_format!(IQ2_S, iq2_s, SymmetricHalves<64>, |block, steps| {
    let d = f16_at(block, iq2_s::D);
    for (s, step) in steps.iter_mut().enumerate() {
        let high = block[iq2_s::QH + s];
        for (l, codes) in step.codes.chunks_exact_mut(8).enumerate() {
            let index = usize::from(block[iq2_s::QS + 4 * s + l]) | usize::from(high >> (2 * l) & 3) << 8;
            put_signed(codes, &codebook::IQ2_S[index], block[iq2_s::SIGNS + 4 * s + l]);
        }
        let scale = |half| d * (0.5 + f32::from(nibble(&block[iq2_s::SCALES..], 2 * s + half))) * 0.25;
        step.scale = [scale(0), scale(1)];
    }
});

codebook_format!(IQ3_XXS, iq3_xxs, Symmetric<64>, |block, steps| {
    let d = f16_at(block, iq3_xxs::D);
    for (s, step) in steps.iter_mut().enumerate() {
        let tail = u32::from_le_bytes(*bytes_at(block, iq3_xxs::TAILS + 4 * s));
        for (c, codes) in step.codes.chunks_exact_mut(4).enumerate() {
            let entry = &codebook::IQ3_XXS[usize::from(block[iq3_xxs::QS + 8 * s + c])];
            put_signed(codes, entry, even_signs(tail >> (7 * (c / 2))) >> (4 * (c % 2)));
        }
        step.scale = [d * (0.5 + (tail >> 28) as f32) * 0.5; 2];
    }
});

codebook_format!(IQ3_S, iq3_s, Symmetric<16>, |block, steps| {
    let d = f16_at(block, iq3_s::D);
    for (s, step) in steps.iter_mut().enumerate() {
        let high = block[iq3_s::QH + s];
        for (c, codes) in step.codes.chunks_exact_mut(4).enumerate() {
            let index = usize::from(block[iq3_s::QS + 8 * s + c]) | usize::from(high >> c & 1) << 8;
            put_signed(codes, &codebook::IQ3_S[index], block[iq3_s::SIGNS + 4 * s + c / 2] >> (4 * (c % 2)));
        }
        step.scale = [d * f32::from(1 + 2 * nibble(&block[iq3_s::SCALES..], s)); 2];
    }
});

codebook_format!(IQ1_S, iq1_s, Symmetric<16>, |block, steps| {
    let d = f16_at(block, iq1_s::D);
    for (s, step) in steps.iter_mut().enumerate() {
        let high = u16_at(block, iq1_s::QH + 2 * s);
        for (l, codes) in step.codes.chunks_exact_mut(8).enumerate() {
            let index = usize::from(block[iq1_s::QS + 4 * s + l]) | usize::from(high >> (3 * l) & 7) << 8;
            put_shifted(codes, index, high >> 15 == 1);
        }
        step.scale = [d * f32::from(2 * (high >> 12 & 7) + 1) * 0.125; 2];
    }
});

codebook_format!(IQ1_M, iq1_m, SymmetricHalves<16>, |block, steps| {
    let packed = |i: usize| u16_at(block, iq1_m::SCALES + 2 * i);
    let d = f16::from_bits((0..4).fold(0, |bits, i| bits | (packed(i) >> 12) << (4 * i))).to_f32();
    for (s, step) in steps.iter_mut().enumerate() {
        for (l, codes) in step.codes.chunks_exact_mut(8).enumerate() {
            let high = nibble(&block[iq1_m::QH..], 4 * s + l);
            let index = usize::from(block[iq1_m::QS + 4 * s + l]) | usize::from(high & 7) << 8;
            put_shifted(codes, index, high >> 3 == 1);
        }
        let scale =
            |half: usize| d * f32::from(2 * (packed(s / 2) >> (6 * (s % 2) + 3 * half) & 7) + 1) * 0.125;
        step.scale = [scale(0), scale(1)];
    }
});
