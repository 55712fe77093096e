//! Lanes of AArch64 with dot products of bytes (FEAT_DotProd), which processors have since about 2018: those of
//! [`Neon`](crate::isa::Neon), with sums of 32 bits. Signed by signed, as there.
//!
//! Rust's intrinsics of these instructions are not stable, so they are written as assembly.

use super::neon::{F, TOP_BITS, Two, V};
use super::{Kernel, Lanes, Portable};
use crate::isa::NeonDot;
use core::arch::aarch64::*;
use core::arch::asm;

/// `acc` plus, in each 32-bit lane, the sum of the products of four signed bytes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(acc: uint8x16_t, a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
    let mut acc = acc;
    // SAFETY: the instruction only computes `acc`; this function's features include it.
    unsafe {
        asm!(
            "sdot {acc:v}.4s, {a:v}.16b, {b:v}.16b",
            acc = inout(vreg) acc,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    acc
}

/// The same with the four bytes of lane `LANE` of `b` for all lanes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot_lane<const LANE: usize>(acc: uint8x16_t, a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
    let mut acc = acc;
    // SAFETY: the instruction only computes `acc`; this function's features include it.
    unsafe {
        asm!(
            "sdot {acc:v}.4s, {a:v}.16b, {b:v}.4b[{lane}]",
            acc = inout(vreg) acc,
            a = in(vreg) a,
            b = in(vreg) b,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    acc
}

/// `acc` plus lane `LANE` of `scales` times `dots`. As assembly, too: of the intrinsic the compiler makes three instructions.
#[inline]
#[target_feature(enable = "neon")]
fn scaled<const LANE: usize>(acc: uint8x16_t, dots: uint8x16_t, scales: int32x4_t) -> uint8x16_t {
    let mut acc = acc;
    // SAFETY: the instruction only computes `acc`.
    unsafe {
        asm!(
            "mla {acc:v}.4s, {dots:v}.4s, {scales:v}.s[{lane}]",
            acc = inout(vreg) acc,
            dots = in(vreg) dots,
            scales = in(vreg) scales,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    acc
}

impl NeonDot {
    /// Adds, for each row, the products of four lanes of weights and the word that is lane `LANE` of its `x`.
    #[inline(always)]
    fn add_word<const LANE: usize, const N: usize>(
        self,
        sums: &mut [uint8x16_t; N],
        w: &[u32; 4],
        x: &[uint8x16_t; N],
    ) {
        // SAFETY: a load of a reference.
        let w = unsafe { vreinterpretq_u8_u32(vld1q_u32(w.as_ptr())) };
        for (sum, x) in sums.iter_mut().zip(x) {
            // SAFETY: register operations; `self` proves that the processor has the instruction.
            *sum = unsafe { sdot_lane::<LANE>(*sum, w, *x) };
        }
    }

    #[inline(always)]
    fn dot(self, acc: V, a: V, b: V) -> V {
        // SAFETY: register operations; `self` proves that the processor has the instructions.
        unsafe { Two(sdot(acc.0, a.0, b.0), sdot(acc.1, a.1, b.1)) }
    }
}

impl Lanes for NeonDot {
    type V = V;
    type F = F;
    type T = V;
    type G = F;
    type Wide = Portable;
    const LANES: usize = 8;
    const UNROLL: bool = true;
    const FOUR_WORDS: bool = true;

    #[inline(always)]
    fn wide(self) -> Portable {
        Portable
    }
    #[inline(always)]
    fn enter(self, kernel: impl Kernel) {
        #[target_feature(enable = "neon,dotprod")]
        fn inner(lanes: NeonDot, kernel: impl Kernel) {
            kernel.run(lanes);
        }
        // SAFETY: `self` proves that the processor has these features.
        unsafe { inner(self, kernel) }
    }

    vectors_as_base! {}
    wide_vectors_as_base! {}

    #[inline(always)]
    fn dot2(self, w: [V; 2], x: [V; 2]) -> V {
        self.dot(self.dot(self.splat8(0), w[0], x[0]), w[1], x[1])
    }
    #[inline(always)]
    fn dot_signed(self, w: V, x: V) -> V {
        self.dot(self.splat8(0), w, x)
    }
    #[inline(always)]
    fn dot2_signed(self, w: [V; 2], x: [V; 2]) -> V {
        self.dot2(w, x)
    }
    #[inline(always)]
    fn add_scaled(self, _: bool, acc: V, w: V, x: V, scales: V, s: usize) -> V {
        let dots = self.dot(self.splat8(0), w, x);
        // SAFETY: register operations; `self` proves that the processor has the instructions.
        unsafe {
            let scales = vreinterpretq_s16_u8(scales.0);
            let (low, high) = (vmovl_s16(vget_low_s16(scales)), vmovl_high_s16(scales));
            match s {
                0 => Two(scaled::<0>(acc.0, dots.0, low), scaled::<1>(acc.1, dots.1, low)),
                1 => Two(scaled::<2>(acc.0, dots.0, low), scaled::<3>(acc.1, dots.1, low)),
                2 => Two(scaled::<0>(acc.0, dots.0, high), scaled::<1>(acc.1, dots.1, high)),
                _ => Two(scaled::<2>(acc.0, dots.0, high), scaled::<3>(acc.1, dots.1, high)),
            }
        }
    }

    #[inline(always)]
    fn tadd_bytes(self, _: i32, acc: V, w: V, x: u32) -> V {
        self.dot(acc, w, self.splat32_halves(x ^ TOP_BITS, x ^ TOP_BITS))
    }
    #[inline(always)]
    fn tadd_four<const N: usize>(self, _: i32, sums: &mut [[V; 2]; N], w: &[u32], x: &[&[u8; 16]; N]) {
        // SAFETY: register operations; `self` proves that the processor has the instructions.
        let zero = unsafe { vdupq_n_u8(0) };
        let mut signed = [zero; N];
        for (signed, x) in signed.iter_mut().zip(x) {
            // SAFETY: the same, and the load of a reference.
            *signed = unsafe { veorq_u8(vdupq_n_u8(0x80), vld1q_u8(x.as_ptr())) };
        }
        // A quarter of the outputs after the other, so that one register of weights at a time is enough.
        let mut quarters = [[zero; N]; 4];
        for (i, sums) in sums.iter().enumerate() {
            [quarters[0][i], quarters[1][i]] = [sums[0].0, sums[0].1];
            [quarters[2][i], quarters[3][i]] = [sums[1].0, sums[1].1];
        }
        let w = w[..64].as_chunks::<4>().0;
        let [a, b, c, d] = &mut quarters;
        macro_rules! words {
            ($($lane:literal)*) => {$(
                self.add_word::<$lane, N>(a, &w[4 * $lane], &signed);
                self.add_word::<$lane, N>(b, &w[4 * $lane + 1], &signed);
                self.add_word::<$lane, N>(c, &w[4 * $lane + 2], &signed);
                self.add_word::<$lane, N>(d, &w[4 * $lane + 3], &signed);
            )*};
        }
        words!(0 1 2 3);
        for (i, sums) in sums.iter_mut().enumerate() {
            *sums = [Two(a[i], b[i]), Two(c[i], d[i])];
        }
    }
    #[inline(always)]
    fn twhole_sums(self, _: i32, a: V) -> V {
        a
    }
}
