//! Columns of eight rows on AArch64, which multiplies activations without the 128 that was added to them.

use super::columns::{FOUR_BITS, ROWS};
use super::neon::{F, Two, V};
use super::{Columns, Lanes};
use crate::isa::{Neon, NeonDot};
use core::arch::aarch64::*;

/// An expression for each half.
macro_rules! halves {
    ($a:ident, $half:expr) => {{
        // SAFETY: only register operations; `self` proves that the processor has the instructions.
        let low = unsafe {
            let $a = $a.0;
            $half
        };
        // SAFETY: the same.
        let high = unsafe {
            let $a = $a.1;
            $half
        };
        Two(low, high)
    }};
    ($a:ident, $b:ident, $half:expr) => {{
        // SAFETY: the same.
        let low = unsafe {
            let ($a, $b) = ($a.0, $b.0);
            $half
        };
        // SAFETY: the same.
        let high = unsafe {
            let ($a, $b) = ($a.1, $b.1);
            $half
        };
        Two(low, high)
    }};
}

impl Columns for Neon {
    columns_as_vectors! {}

    #[inline(always)]
    fn tstore_codes(self, a: V, to: &mut [u32]) {
        // The first two bytes of four lanes, then the last two: halves that a multiplication of halves adds.
        let apart = halves!(a, {
            let a = vreinterpretq_u16_u8(a);
            let (first, last) = (vget_low_u16(vuzp1q_u16(a, a)), vget_low_u16(vuzp2q_u16(a, a)));
            vreinterpretq_u8_u16(vcombine_u16(first, last))
        });
        self.store(apart, to);
    }
    #[inline(always)]
    fn tstart(self, _: i32, _: &[V]) -> V {
        self.splat8(0)
    }
    #[inline(always)]
    fn tbyte(self, a: V, i: usize) -> V {
        halves!(a, {
            let top = vshlq_s32(vreinterpretq_s32_u8(a), vdupq_n_s32(24 - 8 * i as i32));
            vreinterpretq_u8_s32(vshrq_n_s32::<24>(top))
        })
    }
    #[inline(always)]
    fn gwords(self, a: V, high: bool) -> F {
        halves!(a, {
            let a = vreinterpretq_u32_u8(a);
            let half = if high { vshrn_n_u32::<16>(a) } else { vmovn_u32(a) };
            vcvt_f32_f16(vreinterpret_f16_u16(half))
        })
    }
    #[inline(always)]
    fn gone_nan(self, a: F) -> F {
        halves!(a, vbslq_f32(vceqq_f32(a, a), a, vdupq_n_f32(f32::NAN)))
    }
    #[inline(always)]
    fn tbf16_pairs(self, low: F, high: F) -> V {
        halves!(low, high, {
            let half = vdupq_n_u32(0x8000);
            let low = vshrq_n_u32::<16>(vaddq_u32(vreinterpretq_u32_f32(low), half));
            let high = vaddq_u32(vreinterpretq_u32_f32(high), half);
            vreinterpretq_u8_u32(vbslq_u32(vdupq_n_u32(0xFFFF), low, high))
        })
    }
}

impl Columns for NeonDot {
    columns_as_vectors! {}

    as_base! {
        tstart(limit: i32, codes: &[V]) -> V;
        tbyte(a: V, i: usize) -> V;
        gwords(a: V, high: bool) -> F;
        gone_nan(a: F) -> F;
        tbf16_pairs(low: F, high: F) -> V;
    }
}
