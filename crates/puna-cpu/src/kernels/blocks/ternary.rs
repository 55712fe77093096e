//! Ternary formats of 256 values: TQ1_0 and TQ2_0.

use super::{Block, Step, Symmetric, bytes_at, f16_at};
use crate::kernels::dot::Any;
use puna_core::quant::{tq1_0, tq2_0};

#[allow(non_camel_case_types, reason = "the name is that of the format")]
pub(crate) struct TQ1_0;

impl Block for TQ1_0 {
    const BYTES: usize = tq1_0::BYTES;
    const STEPS: usize = 8;
    type Shape = Symmetric<16>;
    type Dot = Any<Self>;

    #[inline(always)]
    fn unpack(block: &[u8], steps: &mut [Step; 8]) {
        const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
        let trit = |byte: u8, n: usize| (u16::from(byte.wrapping_mul(POWERS[n])) * 3 >> 8) as i8 - 1;
        let (wide, narrow): (&[u8; 32], &[u8; 16]) = (bytes_at(block, 0), bytes_at(block, 32));
        let last: &[u8; 4] = bytes_at(block, tq1_0::QH);
        for n in 0..5 {
            for i in 0..32 {
                steps[n].codes[i] = trit(wide[i], n);
            }
            // Values 160 on, 16 to a power: they fill step 5, step 6 and half of step 7.
            for i in 0..16 {
                steps[5 + n / 2].codes[16 * (n % 2) + i] = trit(narrow[i], n);
            }
        }
        for n in 0..4 {
            for i in 0..4 {
                steps[7].codes[16 + 4 * n + i] = trit(last[i], n);
            }
        }
        let d = f16_at(block, tq1_0::D);
        for step in steps {
            step.scale = [d; 2];
        }
    }
}

#[allow(non_camel_case_types, reason = "the name is that of the format")]
pub(crate) struct TQ2_0;

impl Block for TQ2_0 {
    const BYTES: usize = tq2_0::BYTES;
    const STEPS: usize = 8;
    type Shape = Symmetric<16>;
    type Dot = Any<Self>;

    #[inline(always)]
    fn unpack(block: &[u8], steps: &mut [Step; 8]) {
        let d = f16_at(block, tq2_0::D);
        for (s, step) in steps.iter_mut().enumerate() {
            let qs: &[u8; 32] = bytes_at(block, tq2_0::QS + 32 * (s / 4));
            for (code, q) in step.codes.iter_mut().zip(qs) {
                *code = (q >> (2 * (s % 4)) & 3) as i8 - 1;
            }
            step.scale = [d; 2];
        }
    }
}
