//! Vectors of eight floats on AArch64: a pair of registers.

use super::Simd;
use crate::isa::Neon;
use core::arch::aarch64::*;
use core::arch::asm;
use half::f16;

/// The low and the high half of a vector.
#[derive(Clone, Copy)]
pub(crate) struct Two(float32x4_t, float32x4_t);

/// Methods that are one intrinsic for each half.
macro_rules! halves {
    ($($name:ident($($arg:ident),*) = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: Two),*) -> Two {
            // SAFETY: `self` proves that the processor has the instructions.
            let low = unsafe { $(let $arg = $arg.0;)* $body };
            // SAFETY: as above.
            let high = unsafe { $(let $arg = $arg.1;)* $body };
            Two(low, high)
        }
    )*};
}

/// The sums of four vectors of four.
#[inline]
#[target_feature(enable = "neon")]
fn four([a, b, c, d]: [float32x4_t; 4]) -> float32x4_t {
    vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d))
}

impl Simd for Neon {
    type V = Two;
    const N: usize = 8;
    const READS_F16: bool = true;

    halves! {
        add(a, b) = vaddq_f32(a, b);
        mul(a, b) = vmulq_f32(a, b);
        div(a, b) = vdivq_f32(a, b);
        fma(a, b, c) = vfmaq_f32(c, a, b);
        // The number, if one of the two is NaN.
        max(a, b) = vmaxnmq_f32(a, b);
        round(v) = vrndnq_f32(v);
        scale2(v, n) = {
            let n = vcvtq_s32_f32(n);
            let half = vshrq_n_s32::<1>(n);
            let bias = vdupq_n_s32(127);
            let low = vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(half, bias)));
            let rest = vaddq_s32(vsubq_s32(n, half), bias);
            vmulq_f32(vmulq_f32(v, low), vreinterpretq_f32_s32(vshlq_n_s32::<23>(rest)))
        };
    }

    #[inline(always)]
    fn splat(self, v: f32) -> Two {
        // SAFETY: `self` proves that the processor has the instruction.
        let all = unsafe { vdupq_n_f32(v) };
        Two(all, all)
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Two {
        // SAFETY: readable by the contract of `load`; `self` proves that the processor has the instructions.
        unsafe { Two(vld1q_f32(from), vld1q_f32(from.add(4))) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Two) {
        // SAFETY: writable by the contract of `store`; `self` proves that the processor has the instructions.
        unsafe {
            vst1q_f32(to, v.0);
            vst1q_f32(to.add(4), v.1);
        }
    }
    #[inline(always)]
    unsafe fn load_f16(self, from: *const f16) -> Two {
        // SAFETY: readable by the contract of `load_f16`; `self` proves that the processor has the instructions.
        unsafe {
            let halves = vreinterpretq_f16_u16(vld1q_u16(from.cast()));
            Two(vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves))
        }
    }
    #[inline(always)]
    unsafe fn store_f16(self, to: *mut f16, v: Two) {
        // SAFETY: writable by the contract of `store_f16`; `self` proves that the processor has the instructions.
        unsafe {
            let halves = vcvt_high_f16_f32(vcvt_f16_f32(v.0), v.1);
            vst1q_u16(to.cast(), vreinterpretq_u16_f16(halves));
        }
    }
    #[inline(always)]
    fn clamp(self, v: Two, lo: f32, hi: f32) -> Two {
        // SAFETY: `self` proves that the processor has the instructions, which give NaN for NaN.
        let [low, high] =
            [v.0, v.1].map(|v| unsafe { vminq_f32(vdupq_n_f32(hi), vmaxq_f32(vdupq_n_f32(lo), v)) });
        Two(low, high)
    }
    #[inline(always)]
    fn sum(self, v: Two) -> f32 {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { vaddvq_f32(vaddq_f32(v.0, v.1)) }
    }
    #[inline(always)]
    unsafe fn sums(self, from: *const f32) -> Two {
        // SAFETY: readable by the contract of `sums`; `self` proves that the processor has the instructions.
        unsafe {
            let v: [float32x4_t; 8] = core::array::from_fn(|i| {
                let Two(low, high) = self.load(from.add(8 * i));
                vaddq_f32(low, high)
            });
            Two(four([v[0], v[1], v[2], v[3]]), four([v[4], v[5], v[6], v[7]]))
        }
    }
    #[inline(always)]
    fn largest(self, v: Two) -> f32 {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { vmaxnmvq_f32(vmaxnmq_f32(v.0, v.1)) }
    }
    #[inline(always)]
    fn prefetch(self, line: *const f16) {
        // SAFETY: a prefetch reads nothing that a program could see and never faults.
        unsafe { asm!("prfm pldl1keep, [{}]", in(reg) line, options(nomem, nostack, preserves_flags)) }
    }
}
