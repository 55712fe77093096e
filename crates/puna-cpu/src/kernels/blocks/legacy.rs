//! Formats of 32 values: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, MXFP4.

use super::{Affine, Block, Step, Symmetric, bytes_at, f16_at};
use crate::kernels::dot::Groups;
use puna_core::quant::{iq4_nl, mxfp4, q4_0, q4_1, q5_0, q5_1, q8_0};

/// Codes of 4 bits: 16 in the low nibbles of 16 bytes, then 16 in the high ones.
#[inline(always)]
fn nibbles(qs: &[u8; 16]) -> [u8; 32] {
    let mut q = [0; 32];
    for i in 0..16 {
        (q[i], q[16 + i]) = (qs[i] & 15, qs[i] >> 4);
    }
    q
}

/// `q - zero`.
#[inline(always)]
fn centred(q: [u8; 32], zero: u8) -> [i8; 32] {
    let mut codes = [0; 32];
    for (code, q) in codes.iter_mut().zip(q) {
        *code = q.wrapping_sub(zero) as i8;
    }
    codes
}

/// The fifth bits of codes: 16 where bit `i` of `high` is set.
#[inline(always)]
fn with_fifth(mut q: [u8; 32], high: &[u8; 4]) -> [u8; 32] {
    let high = u32::from_le_bytes(*high);
    for (i, q) in q.iter_mut().enumerate() {
        *q |= ((high >> i & 1) << 4) as u8;
    }
    q
}

#[inline(always)]
fn looked_up(q: [u8; 32], values: &[i8; 16]) -> [i8; 32] {
    let mut codes = [0; 32];
    for (code, q) in codes.iter_mut().zip(q) {
        *code = values[usize::from(q & 15)];
    }
    codes
}

macro_rules! legacy {
    ($name:ident, $module:ident, $shape:ty, $block:ident => $step:expr) => {
        #[allow(non_camel_case_types, reason = "the name is that of the format")]
        pub(crate) struct $name;

        impl Block for $name {
            const BYTES: usize = $module::BYTES;
            const STEPS: usize = 1;
            type Shape = $shape;
            type Dot = Groups<Self>;

            #[inline(always)]
            fn unpack($block: &[u8], steps: &mut [Step; 8]) {
                let (codes, scale, min): ([i8; 32], f32, f32) = $step;
                steps[0] = Step { codes, scale: [scale; 2], min: [min; 2] };
            }
        }
    };
}

legacy!(Q4_0, q4_0, Symmetric<16>, block => {
    (centred(nibbles(bytes_at(block, q4_0::QS)), 8), f16_at(block, q4_0::D), 0.0)
});
legacy!(Q4_1, q4_1, Affine, block => {
    let d = f16_at(block, q4_1::D);
    (centred(nibbles(bytes_at(block, q4_1::QS)), 8), d, -(f16_at(block, q4_1::M) + 8.0 * d))
});
legacy!(Q5_0, q5_0, Symmetric<16>, block => {
    let q = with_fifth(nibbles(bytes_at(block, q5_0::QS)), bytes_at(block, q5_0::QH));
    (centred(q, 16), f16_at(block, q5_0::D), 0.0)
});
legacy!(Q5_1, q5_1, Affine, block => {
    let q = with_fifth(nibbles(bytes_at(block, q5_1::QS)), bytes_at(block, q5_1::QH));
    let d = f16_at(block, q5_1::D);
    (centred(q, 16), d, -(f16_at(block, q5_1::M) + 16.0 * d))
});
legacy!(Q8_0, q8_0, Symmetric<128>, block => {
    (centred(*bytes_at(block, q8_0::QS), 0), f16_at(block, q8_0::D), 0.0)
});
legacy!(IQ4_NL, iq4_nl, Symmetric<128>, block => {
    (looked_up(nibbles(bytes_at(block, iq4_nl::QS)), &iq4_nl::VALUES), f16_at(block, iq4_nl::D), 0.0)
});
legacy!(MXFP4, mxfp4, Symmetric<16>, block => {
    (looked_up(nibbles(bytes_at(block, mxfp4::QS)), &mxfp4::VALUES), mxfp4::half_scale(block[mxfp4::E]), 0.0)
});
