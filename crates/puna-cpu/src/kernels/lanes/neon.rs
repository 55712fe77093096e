//! Lanes of AArch64's 128-bit vectors, which every such processor has: 32 bytes are a pair of them.
//!
//! The thirty-two registers are the sixteen of 256 bits that [`narrow`](crate::kernels::narrow) is written for. Bytes are
//! multiplied signed by signed, to 16 bits, so activations lose the 128 that was added to them and sums start at nothing.
//! No processor at hand has these instructions: the kernels have run on emulated ones (`cargo xtask arm`), never been timed.

use super::{Kernel, Lanes, Portable};
use crate::isa::Neon;
use core::arch::aarch64::*;
use core::arch::asm;

/// The low and the high half of what is 256 bits wide.
#[derive(Clone, Copy)]
pub(crate) struct Two<Q>(pub(super) Q, pub(super) Q);

/// The 128 of each byte of a word.
pub(super) const TOP_BITS: u32 = 0x8080_8080;

pub(super) type V = Two<uint8x16_t>;
pub(super) type F = Two<float32x4_t>;

/// Evaluates calls of intrinsics.
macro_rules! v {
    ($calls:expr) => {
        // SAFETY: only register operations, and loads and stores of references or of slices whose length was just
        // checked; `self` proves that the processor has the instructions.
        unsafe { $calls }
    };
}

/// An expression for each half.
macro_rules! halves {
    (|$a:ident $(, $b:ident)*| $half:expr) => {{
        let low = { let ($a, $($b,)*) = ($a.0, $($b.0,)*); v!($half) };
        let high = { let ($a, $($b,)*) = ($a.1, $($b.1,)*); v!($half) };
        Two(low, high)
    }};
}

/// The same bits seen as signed bytes, as 16-bit or as 32-bit integers.
macro_rules! s8 {
    ($v:expr) => {
        vreinterpretq_s8_u8($v)
    };
}
macro_rules! s16 {
    ($v:expr) => {
        vreinterpretq_s16_u8($v)
    };
}
macro_rules! u16 {
    ($v:expr) => {
        vreinterpretq_u16_u8($v)
    };
}
macro_rules! s32 {
    ($v:expr) => {
        vreinterpretq_s32_u8($v)
    };
}
macro_rules! u32 {
    ($v:expr) => {
        vreinterpretq_u32_u8($v)
    };
}
macro_rules! u64 {
    ($v:expr) => {
        vreinterpretq_u64_u8($v)
    };
}

/// Products of signed bytes, neighbours summed to 16 bits, which must not overflow.
#[inline]
#[target_feature(enable = "neon")]
fn pairs(a: uint8x16_t, b: uint8x16_t) -> int16x8_t {
    let (a, b) = (s8!(a), s8!(b));
    vpaddq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)), vmull_high_s8(a, b))
}

/// Lane `LANE` of `scale` times `pairs`, each added to some lane of `acc`.
#[inline]
#[target_feature(enable = "neon")]
fn scaled<const LANE: i32>(acc: uint8x16_t, pairs: int16x8_t, scale: uint8x16_t) -> uint8x16_t {
    let acc = vmlal_laneq_s16::<LANE>(s32!(acc), vget_low_s16(pairs), s16!(scale));
    vreinterpretq_u8_s32(vmlal_high_laneq_s16::<LANE>(acc, pairs, s16!(scale)))
}

impl Lanes for Neon {
    type V = V;
    type F = F;
    type T = V;
    type G = F;
    type Wide = Portable;
    const LANES: usize = 8;
    const UNROLL: bool = true;

    #[inline(always)]
    fn wide(self) -> Portable {
        Portable
    }
    #[inline(always)]
    fn enter(self, kernel: impl Kernel) {
        #[target_feature(enable = "neon")]
        fn inner(lanes: Neon, kernel: impl Kernel) {
            kernel.run(lanes);
        }
        // SAFETY: `self` proves that the processor has these features.
        unsafe { inner(self, kernel) }
    }

    #[inline(always)]
    fn prefetch(self, from: &[u8], ahead: usize) {
        let line = from.as_ptr().wrapping_add(ahead);
        // SAFETY: a prefetch reads nothing that a program could see and never faults; any address will do.
        unsafe { asm!("prfm pldl1keep, [{}]", in(reg) line, options(nomem, nostack, preserves_flags)) }
    }
    #[inline(always)]
    fn load(self, from: &[u8; 32]) -> V {
        let from = from.as_ptr();
        v!(Two(vld1q_u8(from), vld1q_u8(from.add(16))))
    }
    #[inline(always)]
    fn store_bytes(self, a: V, to: &mut [i8; 32]) {
        let to = to.as_mut_ptr();
        v!({
            vst1q_s8(to, s8!(a.0));
            vst1q_s8(to.add(16), s8!(a.1));
        })
    }
    #[inline(always)]
    fn store(self, a: V, to: &mut [u32]) {
        let to = to[..8].as_mut_ptr();
        v!({
            vst1q_u32(to, u32!(a.0));
            vst1q_u32(to.add(4), u32!(a.1));
        })
    }
    #[inline(always)]
    fn load2(self, low: &[u8; 16], high: &[u8; 16]) -> V {
        v!(Two(vld1q_u8(low.as_ptr()), vld1q_u8(high.as_ptr())))
    }
    #[inline(always)]
    fn join4(self, from: [&[i8; 16]; 4]) -> V {
        let [a, b, c, d] = from.map(|from| from.as_ptr().cast::<u8>());
        let pair = |a, b: *const u8| v!(vcombine_u8(vld1_u8(a), vld1_u8(b.add(8))));
        Two(pair(a, b), pair(c, d))
    }
    #[inline(always)]
    fn join8(self, from: [&[i8; 16]; 8]) -> V {
        let [a, b, c, d, e, f, g, h] = from.map(|from| from.as_ptr().cast::<u32>());
        let four = |a, b: *const u32, c: *const u32, d: *const u32| {
            let two = v!(vld1q_lane_u32::<1>(b.add(1), vld1q_dup_u32(a)));
            let three = v!(vld1q_lane_u32::<2>(c.add(2), two));
            v!(vreinterpretq_u8_u32(vld1q_lane_u32::<3>(d.add(3), three)))
        };
        Two(four(a, b, c, d), four(e, f, g, h))
    }
    #[inline(always)]
    fn splat8(self, value: i8) -> V {
        let all = v!(vdupq_n_u8(value as u8));
        Two(all, all)
    }
    #[inline(always)]
    fn splat16(self, value: i16) -> V {
        let all = v!(vreinterpretq_u8_s16(vdupq_n_s16(value)));
        Two(all, all)
    }
    #[inline(always)]
    fn splat32_halves(self, low: u32, high: u32) -> V {
        v!(Two(vreinterpretq_u8_u32(vdupq_n_u32(low)), vreinterpretq_u8_u32(vdupq_n_u32(high))))
    }
    #[inline(always)]
    fn and(self, a: V, b: V) -> V {
        halves!(|a, b| vandq_u8(a, b))
    }
    #[inline(always)]
    fn or(self, a: V, b: V) -> V {
        halves!(|a, b| vorrq_u8(a, b))
    }
    #[inline(always)]
    fn shr16(self, a: V, bits: usize) -> V {
        halves!(|a| vreinterpretq_u8_u16(vshlq_u16(u16!(a), vdupq_n_s16(-(bits as i16)))))
    }
    #[inline(always)]
    fn shl16(self, a: V, bits: usize) -> V {
        halves!(|a| vreinterpretq_u8_u16(vshlq_u16(u16!(a), vdupq_n_s16(bits as i16))))
    }
    #[inline(always)]
    fn shl32(self, a: V, bits: usize) -> V {
        halves!(|a| vreinterpretq_u8_u32(vshlq_u32(u32!(a), vdupq_n_s32(bits as i32))))
    }
    #[inline(always)]
    fn sub8(self, a: V, b: V) -> V {
        halves!(|a, b| vsubq_u8(a, b))
    }
    #[inline(always)]
    fn add32(self, a: V, b: V) -> V {
        halves!(|a, b| vreinterpretq_u8_u32(vaddq_u32(u32!(a), u32!(b))))
    }
    #[inline(always)]
    fn sub32(self, a: V, b: V) -> V {
        halves!(|a, b| vreinterpretq_u8_u32(vsubq_u32(u32!(a), u32!(b))))
    }
    #[inline(always)]
    fn eq8(self, a: V, b: V) -> V {
        halves!(|a, b| vceqq_u8(a, b))
    }
    #[inline(always)]
    fn negate8(self, a: V, minus: V) -> V {
        halves!(|a, minus| vsubq_u8(veorq_u8(a, minus), minus))
    }
    #[inline(always)]
    fn shuffle8(self, table: V, index: V) -> V {
        // The instruction gives 0 for whatever is beyond the table.
        halves!(|table, index| vqtbl1q_u8(table, vandq_u8(index, vdupq_n_u8(0x8F))))
    }
    #[inline(always)]
    fn mul16(self, a: V, b: V) -> V {
        halves!(|a, b| vreinterpretq_u8_s16(vmulq_s16(s16!(a), s16!(b))))
    }
    #[inline(always)]
    fn mul16_pairs(self, a: V, b: V) -> V {
        halves!(|a, b| {
            let (a, b) = (s16!(a), s16!(b));
            let low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
            vreinterpretq_u8_s32(vpaddq_s32(low, vmull_high_s16(a, b)))
        })
    }
    #[inline(always)]
    fn mul8_pairs(self, unsigned: V, signed: V) -> V {
        self.mul8_pairs_signed(unsigned, signed)
    }
    #[inline(always)]
    fn dot2(self, w: [V; 2], x: [V; 2]) -> V {
        let ([w, w1], [x, x1]) = (w, x);
        // Sums of 16 bits: at most 4 x 63 x 127 = 32004.
        halves!(|w, w1, x, x1| {
            let (w, w1, x, x1) = (s8!(w), s8!(w1), s8!(x), s8!(x1));
            let low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
            let low = vmlal_s8(low, vget_low_s8(w1), vget_low_s8(x1));
            let high = vmlal_high_s8(vmull_high_s8(w, x), w1, x1);
            vreinterpretq_u8_s32(vpaddlq_s16(vpaddq_s16(low, high)))
        })
    }
    #[inline(always)]
    fn dot_signed(self, w: V, x: V) -> V {
        halves!(|w, x| vreinterpretq_u8_s32(vpaddlq_s16(pairs(w, x))))
    }
    #[inline(always)]
    fn mul8_pairs_signed(self, w: V, x: V) -> V {
        halves!(|w, x| vreinterpretq_u8_s16(pairs(w, x)))
    }
    #[inline(always)]
    fn add_scaled(self, _: bool, acc: V, w: V, x: V, scales: V, s: usize) -> V {
        let (low, high, scales) = (v!(pairs(w.0, x.0)), v!(pairs(w.1, x.1)), scales.0);
        v!(match s {
            0 => Two(scaled::<0>(acc.0, low, scales), scaled::<1>(acc.1, high, scales)),
            1 => Two(scaled::<2>(acc.0, low, scales), scaled::<3>(acc.1, high, scales)),
            2 => Two(scaled::<4>(acc.0, low, scales), scaled::<5>(acc.1, high, scales)),
            _ => Two(scaled::<6>(acc.0, low, scales), scaled::<7>(acc.1, high, scales)),
        })
    }
    #[inline(always)]
    fn zip32_low(self, a: V, b: V) -> V {
        halves!(|a, b| vreinterpretq_u8_u32(vzip1q_u32(u32!(a), u32!(b))))
    }
    #[inline(always)]
    fn zip32_high(self, a: V, b: V) -> V {
        halves!(|a, b| vreinterpretq_u8_u32(vzip2q_u32(u32!(a), u32!(b))))
    }
    #[inline(always)]
    fn zip64_low(self, a: V, b: V) -> V {
        halves!(|a, b| vreinterpretq_u8_u64(vzip1q_u64(u64!(a), u64!(b))))
    }
    #[inline(always)]
    fn zip64_high(self, a: V, b: V) -> V {
        halves!(|a, b| vreinterpretq_u8_u64(vzip2q_u64(u64!(a), u64!(b))))
    }
    #[inline(always)]
    fn halves_low(self, a: V, b: V) -> V {
        Two(a.0, b.0)
    }
    #[inline(always)]
    fn halves_low_high(self, a: V, b: V) -> V {
        Two(a.0, b.1)
    }
    #[inline(always)]
    fn halves_high(self, a: V, b: V) -> V {
        Two(a.1, b.1)
    }
    #[inline(always)]
    fn widen8(self, from: &[u8; 16]) -> V {
        v!({
            let bytes = s8!(vld1q_u8(from.as_ptr()));
            let low = vmovl_s8(vget_low_s8(bytes));
            Two(vreinterpretq_u8_s16(low), vreinterpretq_u8_s16(vmovl_high_s8(bytes)))
        })
    }
    #[inline(always)]
    fn widen_bytes(self, a: V) -> [V; 2] {
        let low = halves!(|a| vreinterpretq_u8_s16(vshrq_n_s16::<8>(vshlq_n_s16::<8>(s16!(a)))));
        [low, halves!(|a| vreinterpretq_u8_s16(vshrq_n_s16::<8>(s16!(a))))]
    }
    #[inline(always)]
    fn to_f32(self, a: V) -> F {
        halves!(|a| vcvtq_f32_s32(s32!(a)))
    }

    #[inline(always)]
    fn f16(self, bits: u16) -> f32 {
        v!(vgetq_lane_f32::<0>(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits)))))
    }
    #[inline(always)]
    fn fload(self, from: &[f32; 8]) -> F {
        let from = from.as_ptr();
        v!(Two(vld1q_f32(from), vld1q_f32(from.add(4))))
    }
    #[inline(always)]
    fn fstore(self, a: F, to: &mut [f32; 8]) {
        let to = to.as_mut_ptr();
        v!({
            vst1q_f32(to, a.0);
            vst1q_f32(to.add(4), a.1);
        })
    }
    #[inline(always)]
    fn fload_f16(self, from: &[u16; 8]) -> F {
        v!({
            let halves = vreinterpretq_f16_u16(vld1q_u16(from.as_ptr()));
            Two(vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves))
        })
    }
    #[inline(always)]
    fn fload_e8m0(self, from: &[u8; 8]) -> F {
        let exponents = v!({
            let exponents = vmovl_u8(vld1_u8(from.as_ptr()));
            Two(vmovl_u16(vget_low_u16(exponents)), vmovl_high_u16(exponents))
        });
        halves!(|exponents| {
            let normal = vshlq_n_u32::<23>(vsubq_u32(exponents, vdupq_n_u32(1)));
            let subnormal = vshlq_u32(vdupq_n_u32(1 << 21), vreinterpretq_s32_u32(exponents));
            vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(exponents, vdupq_n_u32(2)), subnormal, normal))
        })
    }
    #[inline(always)]
    fn fsplat(self, value: f32) -> F {
        let all = v!(vdupq_n_f32(value));
        Two(all, all)
    }
    #[inline(always)]
    fn fsplat_halves(self, low: f32, high: f32) -> F {
        v!(Two(vdupq_n_f32(low), vdupq_n_f32(high)))
    }
    #[inline(always)]
    fn fmul(self, a: F, b: F) -> F {
        halves!(|a, b| vmulq_f32(a, b))
    }
    #[inline(always)]
    fn ffma(self, a: F, b: F, c: F) -> F {
        halves!(|a, b, c| vfmaq_f32(c, a, b))
    }
    #[inline(always)]
    fn fsum(self, a: F) -> f32 {
        v!(vaddvq_f32(vaddq_f32(a.0, a.1)))
    }

    #[inline(always)]
    fn tload(self, from: &[u32]) -> V {
        let from = from[..8].as_ptr();
        v!(Two(vreinterpretq_u8_u32(vld1q_u32(from)), vreinterpretq_u8_u32(vld1q_u32(from.add(4)))))
    }
    #[inline(always)]
    fn tzero(self) -> V {
        self.splat8(0)
    }
    #[inline(always)]
    fn tadd_bytes(self, limit: i32, acc: V, w: V, x: u32) -> V {
        let x = x ^ TOP_BITS;
        // The halves of `w` hold the first two bytes of each lane and the last two.
        let (x0, x1) = v!((vdupq_n_u16(x as u16), vdupq_n_u16((x >> 16) as u16)));
        let (x0, x1) = v!((vget_low_s8(vreinterpretq_s8_u16(x0)), vreinterpretq_s8_u16(x1)));
        if limit <= 32 {
            return halves!(|acc, w| {
                let acc = vmlal_s8(s16!(acc), vget_low_s8(s8!(w)), x0);
                vreinterpretq_u8_s16(vmlal_high_s8(acc, s8!(w), x1))
            });
        }
        // 16 bits hold two products: at most 2 x 128 x 127 = 32512.
        halves!(|acc, w| {
            let sums = vmlal_high_s8(vmull_s8(vget_low_s8(s8!(w)), x0), s8!(w), x1);
            vreinterpretq_u8_s32(vpadalq_s16(s32!(acc), sums))
        })
    }
    #[inline(always)]
    fn twhole_sums(self, limit: i32, a: V) -> V {
        if limit <= 32 { halves!(|a| vreinterpretq_u8_s32(vpaddlq_s16(s16!(a)))) } else { a }
    }
    #[inline(always)]
    fn tmul16_pairs(self, acc: V, w: V, x: u32) -> V {
        self.add32(acc, self.mul16_pairs(w, self.splat32_halves(x, x)))
    }
    #[inline(always)]
    fn to_g(self, a: V) -> F {
        self.to_f32(a)
    }

    #[inline(always)]
    fn gload(self, from: &[f32]) -> F {
        let from = from[..8].as_ptr();
        v!(Two(vld1q_f32(from), vld1q_f32(from.add(4))))
    }
    #[inline(always)]
    fn gstore(self, a: F, to: &mut [f32]) {
        let to = to[..8].as_mut_ptr();
        v!({
            vst1q_f32(to, a.0);
            vst1q_f32(to.add(4), a.1);
        })
    }
    #[inline(always)]
    fn gsplat(self, value: f32) -> F {
        self.fsplat(value)
    }
    #[inline(always)]
    fn gadd(self, a: F, b: F) -> F {
        halves!(|a, b| vaddq_f32(a, b))
    }
    #[inline(always)]
    fn gmul(self, a: F, b: F) -> F {
        self.fmul(a, b)
    }
    #[inline(always)]
    fn gfma(self, a: F, b: F, c: F) -> F {
        self.ffma(a, b, c)
    }
    #[inline(always)]
    fn gfnma(self, a: F, b: F, c: F) -> F {
        halves!(|a, b, c| vfmsq_f32(c, a, b))
    }
    #[inline(always)]
    fn gsum(self, a: F) -> f32 {
        self.fsum(a)
    }
    #[inline(always)]
    fn gload_f32(self, from: &[u8]) -> F {
        let from = from[..32].as_ptr();
        v!(Two(vreinterpretq_f32_u8(vld1q_u8(from)), vreinterpretq_f32_u8(vld1q_u8(from.add(16)))))
    }
    #[inline(always)]
    fn gload_f16(self, from: &[u8]) -> F {
        let from = from[..16].as_ptr();
        v!({
            let halves = vreinterpretq_f16_u8(vld1q_u8(from));
            Two(vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves))
        })
    }
    #[inline(always)]
    fn gload_bf16(self, from: &[u8]) -> F {
        let from = from[..16].as_ptr();
        let bits = v!({
            let bits = vreinterpretq_u16_u8(vld1q_u8(from));
            Two(vmovl_u16(vget_low_u16(bits)), vmovl_high_u16(bits))
        });
        halves!(|bits| vreinterpretq_f32_u32(vshlq_n_u32::<16>(bits)))
    }
    #[inline(always)]
    fn gload_f8(self, from: &[u8]) -> F {
        let from = from[..8].as_ptr();
        v!({
            // As with AVX2.
            let codes = vreinterpretq_s16_u16(vshll_n_u8::<8>(vld1_u8(from)));
            let bits = vandq_s16(vshrq_n_s16::<1>(codes), vdupq_n_s16(0xBF80u16 as i16));
            let largest = vdupq_n_s16(0x7F00);
            let nan = vandq_u16(vceqq_s16(vandq_s16(codes, largest), largest), vdupq_n_u16(0x7E00));
            let halves = vreinterpretq_f16_u16(vorrq_u16(vreinterpretq_u16_s16(bits), nan));
            let wide = Two(vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves));
            self.fmul(wide, self.fsplat(256.0))
        })
    }
}
