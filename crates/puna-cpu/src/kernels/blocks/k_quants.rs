//! Formats of 256 values with integer scales for sub-blocks, Q2_K to Q6_K and IQ4_XS, and with none: TQ1_0 and TQ2_0.

use super::columns::NotByColumns;
use super::{
    Affine, AffineHalves, Block, Shape, Sides, Step, Symmetric, SymmetricHalves, bytes_at, f16_at,
    side_by_side,
};
use crate::kernels::dot::{Codes, SixBits, SuperBlocks};
use crate::kernels::lanes::Lanes;
use puna_core::quant::{iq4_xs, q2_k, q3_k, q4_k, q5_k, q6_k, tq1_0, tq2_0};

macro_rules! k_quant {
    // Codes are `$zero` less than they are stored. `$unpack` writes the scales and minima of the block's eight steps, or of
    // their sixteen halves.
    ($name:ident, $module:ident, $dot:ident, $shape:ty, $columns:ty, $zero:literal,
     |$l:ident, $block:ident, $scales:ident, $mins:ident| $unpack:block) => {
        #[allow(non_camel_case_types, reason = "the name is that of the format")]
        pub(crate) struct $name;

        impl Block for $name {
            const BYTES: usize = $module::BYTES;
            const STEPS: usize = 8;
            type Shape = $shape;
            type Dot = $dot<Self>;
            type Columns = $columns;

            #[inline(always)]
            fn sides<L: Lanes>($l: L, blocks: &[&[u8]; 8], _: &mut [[Step; 8]; 8], to: &mut Sides) {
                let (mut scales, mut mins) = ([[0.0; 16]; 8], [[0.0; 16]; 8]);
                for (i, $block) in blocks.iter().enumerate() {
                    let ($scales, $mins): (&mut [f32; 16], &mut [f32; 16]) = (&mut scales[i], &mut mins[i]);
                    $unpack
                }
                side_by_side::<L, $shape>($l, &scales, &mut to.scale);
                if <$shape>::AFFINE {
                    side_by_side::<L, $shape>($l, &mins, &mut to.min);
                }
            }
            #[inline(always)]
            fn step_codes<L: Lanes>(l: L, block: &[u8], s: usize, _: &Step) -> L::V {
                l.sub8(<Self as Codes>::codes(l, block, s), l.splat8($zero))
            }
        }
    };
}

k_quant!(Q2_K, q2_k, SuperBlocks, AffineHalves, Self, 0, |l, block, scales, mins| {
    let (d, dmin) = (f16_at(l, block, q2_k::D), f16_at(l, block, q2_k::DMIN));
    let packed: &[u8; 16] = bytes_at(block, q2_k::SCALES);
    for ((scale, min), packed) in scales.iter_mut().zip(mins).zip(packed) {
        (*scale, *min) = (d * f32::from(packed & 15), dmin * f32::from(packed >> 4));
    }
});

k_quant!(Q3_K, q3_k, SuperBlocks, SymmetricHalves<16>, Self, 4, |l, block, scales, _mins| {
    let d = f16_at(l, block, q3_k::D);
    for (scale, packed) in scales.iter_mut().zip(q3_k::unpack_scales(bytes_at(block, q3_k::SCALES))) {
        *scale = d * f32::from(packed);
    }
});

/// Scales and minima of Q4_K and Q5_K, for codes less `zero`: those of Q4_K are small enough as they are stored.
#[inline(always)]
fn affine(d: f32, dmin: f32, packed: &[u8; 12], zero: f32, scales: &mut [f32; 16], mins: &mut [f32; 16]) {
    // As `q4_k::unpack_scales` does it, four at a time.
    let word = |i: usize| u32::from_le_bytes(*bytes_at(packed, 4 * i));
    let (a, b, c) = (word(0), word(1), word(2));
    let low = [a, b].map(|word| (word & 0x3F3F_3F3F).to_le_bytes());
    let high = [c & 0x0F0F_0F0F | a >> 2 & 0x3030_3030, c >> 4 & 0x0F0F_0F0F | b >> 2 & 0x3030_3030];
    let high = high.map(u32::to_le_bytes);
    for half in 0..2 {
        let [packed_scales, packed_mins] = if half == 0 { low } else { high };
        for i in 0..4 {
            let scale = d * f32::from(packed_scales[i]);
            scales[4 * half + i] = scale;
            mins[4 * half + i] = dmin * f32::from(packed_mins[i]) - zero * scale;
        }
    }
}

k_quant!(Q4_K, q4_k, SixBits, Affine, Self, 0, |l, block, scales, mins| {
    let (d, dmin) = (f16_at(l, block, q4_k::D), f16_at(l, block, q4_k::DMIN));
    affine(d, dmin, bytes_at(block, q4_k::SCALES), 0.0, scales, mins);
});

k_quant!(Q5_K, q5_k, SixBits, Affine, Self, 16, |l, block, scales, mins| {
    let (d, dmin) = (f16_at(l, block, q5_k::D), f16_at(l, block, q5_k::DMIN));
    affine(d, dmin, bytes_at(block, q5_k::SCALES), 16.0, scales, mins);
});

k_quant!(Q6_K, q6_k, SuperBlocks, SymmetricHalves<32>, Self, 32, |l, block, scales, _mins| {
    let d = f16_at(l, block, q6_k::D);
    let packed: &[u8; 16] = bytes_at(block, q6_k::SCALES);
    for (scale, packed) in scales.iter_mut().zip(packed) {
        *scale = d * f32::from(*packed as i8);
    }
});

k_quant!(IQ4_XS, iq4_xs, SuperBlocks, Symmetric<128>, Self, 0, |l, block, scales, _mins| {
    let d = f16_at(l, block, iq4_xs::D);
    for (scale, packed) in scales.iter_mut().zip(iq4_xs::scales(bytes_at(block, 0))) {
        *scale = d * f32::from(packed);
    }
});

k_quant!(TQ1_0, tq1_0, SuperBlocks, Symmetric<16>, NotByColumns, 1, |l, block, scales, _mins| {
    scales.fill(f16_at(l, block, tq1_0::D));
});

k_quant!(TQ2_0, tq2_0, SuperBlocks, Symmetric<16>, NotByColumns, 1, |l, block, scales, _mins| {
    scales.fill(f16_at(l, block, tq2_0::D));
});
