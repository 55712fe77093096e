//! Formats of 256 values of -1, 0 and 1 under one scale: TQ1_0 and TQ2_0.

use super::super_blocks::{Codes, Min, Scales, Super, two_bits};
use crate::kernels::blocks::{TQ1_0, TQ2_0, bytes_at, f16_at};
use crate::kernels::lanes::Lanes;
use puna_core::quant::{tq1_0, tq2_0};

/// Every step has the scale of the block, and code 1 is 0.
#[inline(always)]
fn ones<L: Lanes>(l: L) -> Scales<L> {
    let ones = l.splat16(1);
    Scales { of: [ones; 2], mins: Some(ones) }
}

impl Codes for TQ2_0 {
    const BYTES: usize = tq2_0::BYTES;
    const SIGNED: bool = false;

    #[inline(always)]
    fn codes<L: Lanes>(l: L, block: &[u8], s: usize) -> L::V {
        two_bits(l, bytes_at(block, tq2_0::QS), s)
    }
}

impl Super for TQ2_0 {
    #[inline(always)]
    fn scales<L: Lanes>(l: L, _: &[u8]) -> Scales<L> {
        ones(l)
    }
    #[inline(always)]
    fn factors<L: Lanes>(l: L, block: &[u8]) -> (f32, Min) {
        (f16_at(l, block, tq2_0::D), Min::Zero(0))
    }
}

/// The powers of 3 that move the digits of a step to the top of their bytes, as 16-bit lanes.
const POWERS: [[u16; 16]; 8] = {
    const POWER: [u16; 5] = [1, 3, 9, 27, 81];
    let mut powers = [[0; 16]; 8];
    let mut i = 0;
    while i < 8 * 16 {
        let (s, lane) = (i / 16, i % 16);
        powers[s][lane] = POWER[match (s, lane) {
            // Five times 32 values of 32 bytes, five times 16 of the next 16, four times four of the last four.
            (0..5, _) => s,
            (7, 8..) => lane % 8 / 2,
            _ => 2 * (s - 5) + lane / 8,
        }];
        i += 1;
    }
    powers
};

impl Codes for TQ1_0 {
    const BYTES: usize = tq1_0::BYTES;
    const SIGNED: bool = false;

    #[inline(always)]
    fn codes<L: Lanes>(l: L, block: &[u8], s: usize) -> L::V {
        let bytes = if s < 5 {
            l.load(bytes_at(block, 0))
        } else {
            let narrow = bytes_at(block, 32);
            let last = u32::from_ne_bytes(*bytes_at(block, tq1_0::QH));
            let narrow = l.load2(narrow, narrow);
            if s < 7 { narrow } else { l.halves_low_high(narrow, l.splat32_halves(last, last)) }
        };
        // A byte is the digits' value as a fraction: what a power of 3 leaves of it, times 3, has the digit above it.
        let (power, low) = (l.load(bytemuck::cast_ref(&POWERS[s])), l.splat16(0xFF));
        let digit = |bytes: L::V| {
            let rest = l.and(l.mul16(bytes, power), low);
            l.shr16(l.mul16(rest, l.splat16(3)), 8)
        };
        l.or(digit(l.and(bytes, low)), l.shl16(digit(l.shr16(bytes, 8)), 8))
    }
}

impl Super for TQ1_0 {
    #[inline(always)]
    fn scales<L: Lanes>(l: L, _: &[u8]) -> Scales<L> {
        ones(l)
    }
    #[inline(always)]
    fn factors<L: Lanes>(l: L, block: &[u8]) -> (f32, Min) {
        (f16_at(l, block, tq1_0::D), Min::Zero(0))
    }
}
