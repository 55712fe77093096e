//! Lanes of AVX2, FMA and F16C.

use super::{Kernel, Lanes, Portable};
use crate::isa::Avx2;
use core::arch::x86_64::*;

/// Evaluates calls of intrinsics.
macro_rules! v {
    ($calls:expr) => {
        // SAFETY: only register operations, and loads and stores of references or of slices whose length was just
        // checked; `self` proves that the processor has the instructions.
        unsafe { $calls }
    };
}

impl Lanes for Avx2 {
    type V = __m256i;
    type F = __m256;
    type T = __m256i;
    type G = __m256;
    type Wide = Portable;
    const LANES: usize = 8;

    #[inline(always)]
    fn wide(self) -> Portable {
        Portable
    }
    #[inline(always)]
    fn enter(self, kernel: impl Kernel) {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn inner(lanes: Avx2, kernel: impl Kernel) {
            kernel.run(lanes);
        }
        // SAFETY: `self` proves that the processor has these features.
        unsafe { inner(self, kernel) }
    }

    #[inline(always)]
    fn prefetch(self, from: &[u8], ahead: usize) {
        // SAFETY: a prefetch reads nothing; any address will do.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.as_ptr().wrapping_add(ahead).cast()) }
    }
    #[inline(always)]
    fn load(self, from: &[u8; 32]) -> __m256i {
        v!(_mm256_loadu_si256(from.as_ptr().cast()))
    }
    #[inline(always)]
    fn store_bytes(self, a: __m256i, to: &mut [i8; 32]) {
        v!(_mm256_storeu_si256(to.as_mut_ptr().cast(), a))
    }
    #[inline(always)]
    fn store(self, a: __m256i, to: &mut [u32]) {
        let to = &mut to[..8];
        v!(_mm256_storeu_si256(to.as_mut_ptr().cast(), a))
    }
    #[inline(always)]
    fn load2(self, low: &[u8; 16], high: &[u8; 16]) -> __m256i {
        v!(_mm256_loadu2_m128i(high.as_ptr().cast(), low.as_ptr().cast()))
    }
    #[inline(always)]
    fn join4(self, [a, b, c, d]: [&[i8; 16]; 4]) -> __m256i {
        v!({
            let load = |from: &[i8; 16]| _mm_loadu_si128(from.as_ptr().cast());
            let pair = |a, b| _mm_blend_epi32::<0b1100>(load(a), load(b));
            _mm256_set_m128i(pair(c, d), pair(a, b))
        })
    }
    #[inline(always)]
    fn join8(self, [a, b, c, d, e, f, g, h]: [&[i8; 16]; 8]) -> __m256i {
        v!({
            let load = |from: &[i8; 16]| _mm_loadu_si128(from.as_ptr().cast());
            let four = |a, b, c, d| {
                let two = _mm_blend_epi32::<0b0010>(load(a), load(b));
                _mm_blend_epi32::<0b1000>(_mm_blend_epi32::<0b0100>(two, load(c)), load(d))
            };
            _mm256_set_m128i(four(e, f, g, h), four(a, b, c, d))
        })
    }
    #[inline(always)]
    fn splat8(self, value: i8) -> __m256i {
        v!(_mm256_set1_epi8(value))
    }
    #[inline(always)]
    fn splat16(self, value: i16) -> __m256i {
        v!(_mm256_set1_epi16(value))
    }
    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_and_si256(a, b))
    }
    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_or_si256(a, b))
    }
    #[inline(always)]
    fn splat32_halves(self, low: u32, high: u32) -> __m256i {
        v!(_mm256_set_m128i(_mm_set1_epi32(high as i32), _mm_set1_epi32(low as i32)))
    }
    #[inline(always)]
    fn shr16(self, a: __m256i, bits: usize) -> __m256i {
        v!(_mm256_srl_epi16(a, _mm_cvtsi32_si128(bits as i32)))
    }
    #[inline(always)]
    fn shl16(self, a: __m256i, bits: usize) -> __m256i {
        v!(_mm256_sll_epi16(a, _mm_cvtsi32_si128(bits as i32)))
    }
    #[inline(always)]
    fn shl32(self, a: __m256i, bits: usize) -> __m256i {
        v!(_mm256_sll_epi32(a, _mm_cvtsi32_si128(bits as i32)))
    }
    #[inline(always)]
    fn sub8(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_sub_epi8(a, b))
    }
    #[inline(always)]
    fn add32(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_add_epi32(a, b))
    }
    #[inline(always)]
    fn sub32(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_sub_epi32(a, b))
    }
    #[inline(always)]
    fn eq8(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_cmpeq_epi8(a, b))
    }
    #[inline(always)]
    fn negate8(self, a: __m256i, minus: __m256i) -> __m256i {
        v!(_mm256_sign_epi8(a, _mm256_or_si256(minus, _mm256_set1_epi8(1))))
    }
    #[inline(always)]
    fn shuffle8(self, table: __m256i, index: __m256i) -> __m256i {
        v!(_mm256_shuffle_epi8(table, index))
    }
    #[inline(always)]
    fn mul16(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_mullo_epi16(a, b))
    }
    #[inline(always)]
    fn mul16_pairs(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_madd_epi16(a, b))
    }
    #[inline(always)]
    fn mul8_pairs(self, unsigned: __m256i, signed: __m256i) -> __m256i {
        v!(_mm256_maddubs_epi16(unsigned, signed))
    }
    #[inline(always)]
    fn dot2(self, w: [__m256i; 2], x: [__m256i; 2]) -> __m256i {
        // Sums of 16 bits: at most 4 x 63 x 127 = 32004.
        v!({
            let sums = _mm256_add_epi16(_mm256_maddubs_epi16(w[0], x[0]), _mm256_maddubs_epi16(w[1], x[1]));
            _mm256_madd_epi16(sums, _mm256_set1_epi16(1))
        })
    }
    #[inline(always)]
    fn dot_signed(self, w: __m256i, x: __m256i) -> __m256i {
        v!(_mm256_madd_epi16(self.mul8_pairs_signed(w, x), _mm256_set1_epi16(1)))
    }
    #[inline(always)]
    fn mul8_pairs_signed(self, w: __m256i, x: __m256i) -> __m256i {
        v!(_mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)))
    }
    #[inline(always)]
    fn zip32_low(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_unpacklo_epi32(a, b))
    }
    #[inline(always)]
    fn zip32_high(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_unpackhi_epi32(a, b))
    }
    #[inline(always)]
    fn zip64_low(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_unpacklo_epi64(a, b))
    }
    #[inline(always)]
    fn zip64_high(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_unpackhi_epi64(a, b))
    }
    #[inline(always)]
    fn halves_low(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_permute2x128_si256::<0x20>(a, b))
    }
    #[inline(always)]
    fn halves_low_high(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_blend_epi32::<0xF0>(a, b))
    }
    #[inline(always)]
    fn halves_high(self, a: __m256i, b: __m256i) -> __m256i {
        v!(_mm256_permute2x128_si256::<0x31>(a, b))
    }
    #[inline(always)]
    fn widen8(self, from: &[u8; 16]) -> __m256i {
        v!(_mm256_cvtepi8_epi16(_mm_loadu_si128(from.as_ptr().cast())))
    }
    #[inline(always)]
    fn widen_bytes(self, a: __m256i) -> [__m256i; 2] {
        v!([_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(a)), _mm256_srai_epi16::<8>(a)])
    }
    #[inline(always)]
    fn to_f32(self, a: __m256i) -> __m256 {
        v!(_mm256_cvtepi32_ps(a))
    }

    #[inline(always)]
    fn f16(self, bits: u16) -> f32 {
        v!(_mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits)))))
    }
    #[inline(always)]
    fn f16_pair(self, from: &[u8; 4]) -> [f32; 2] {
        v!({
            let both = _mm_cvtph_ps(_mm_cvtsi32_si128(i32::from_le_bytes(*from)));
            [_mm_cvtss_f32(both), _mm_cvtss_f32(_mm_movehdup_ps(both))]
        })
    }
    #[inline(always)]
    fn six_bits(self, from: &[u8; 16]) -> __m256i {
        v!({
            let words = _mm_loadu_si128(from.as_ptr().cast());
            let low = _mm_srlv_epi32(_mm_shuffle_epi32::<0b10_10_01_01>(words), _mm_setr_epi32(0, 2, 0, 2));
            let low_bits = _mm_setr_epi32(0x3F3F_3F3F, 0x3030_3030, 0x3F3F_3F3F, 0x3030_3030);
            let high = _mm_srlv_epi32(_mm_shuffle_epi32::<0b11_11_11_11>(words), _mm_setr_epi32(0, 0, 0, 4));
            let high_bits = _mm_setr_epi32(0, 0x0F0F_0F0F, 0, 0x0F0F_0F0F);
            let bytes = _mm_or_si128(_mm_and_si128(low, low_bits), _mm_and_si128(high, high_bits));
            _mm256_cvtepu8_epi16(bytes)
        })
    }
    #[inline(always)]
    fn fload(self, from: &[f32; 8]) -> __m256 {
        v!(_mm256_loadu_ps(from.as_ptr()))
    }
    #[inline(always)]
    fn fstore(self, a: __m256, to: &mut [f32; 8]) {
        v!(_mm256_storeu_ps(to.as_mut_ptr(), a))
    }
    #[inline(always)]
    fn fload_f16(self, from: &[u16; 8]) -> __m256 {
        v!(_mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())))
    }
    #[inline(always)]
    fn fload_f16_each(self, [a, b, c, d, e, f, g, h]: [&[u8; 16]; 8]) -> __m256 {
        v!({
            let load = |from: &[u8; 16]| _mm_loadu_si128(from.as_ptr().cast());
            let halves = _mm_blend_epi16::<0b0000_0010>(load(a), load(b));
            let halves = _mm_blend_epi16::<0b0000_0100>(halves, load(c));
            let halves = _mm_blend_epi16::<0b0000_1000>(halves, load(d));
            let halves = _mm_blend_epi16::<0b0001_0000>(halves, load(e));
            let halves = _mm_blend_epi16::<0b0010_0000>(halves, load(f));
            let halves = _mm_blend_epi16::<0b0100_0000>(halves, load(g));
            _mm256_cvtph_ps(_mm_blend_epi16::<0b1000_0000>(halves, load(h)))
        })
    }
    #[inline(always)]
    fn fload_e8m0(self, from: &[u8; 8]) -> __m256 {
        v!({
            let exponents = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.as_ptr().cast()));
            let normal = _mm256_slli_epi32::<23>(_mm256_sub_epi32(exponents, _mm256_set1_epi32(1)));
            let subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(1 << 21), exponents);
            let small = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), exponents);
            _mm256_castsi256_ps(_mm256_blendv_epi8(normal, subnormal, small))
        })
    }
    #[inline(always)]
    fn fsplat(self, value: f32) -> __m256 {
        v!(_mm256_set1_ps(value))
    }
    #[inline(always)]
    fn fsplat_halves(self, low: f32, high: f32) -> __m256 {
        v!(_mm256_set_m128(_mm_set1_ps(high), _mm_set1_ps(low)))
    }
    #[inline(always)]
    fn fmul(self, a: __m256, b: __m256) -> __m256 {
        v!(_mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn ffma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        v!(_mm256_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn fsum(self, a: __m256) -> f32 {
        v!({
            let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)))
        })
    }

    #[inline(always)]
    fn tload(self, from: &[u32]) -> __m256i {
        let from = &from[..8];
        v!(_mm256_loadu_si256(from.as_ptr().cast()))
    }
    #[inline(always)]
    fn tzero(self) -> __m256i {
        v!(_mm256_setzero_si256())
    }
    #[inline(always)]
    fn tdot16(self, limit: i32, acc: __m256i, w: &[__m256i; 4], x: &[u32; 4]) -> __m256i {
        v!({
            let one = _mm256_set1_epi16(1);
            let x = |i: usize| _mm256_set1_epi32(x[i] as i32);
            if limit <= 64 {
                // Two products by 255 fit in 16 bits.
                let p = |i: usize| _mm256_maddubs_epi16(x(i), w[i]);
                let low = _mm256_add_epi32(_mm256_madd_epi16(p(0), one), _mm256_madd_epi16(p(1), one));
                let high = _mm256_add_epi32(_mm256_madd_epi16(p(2), one), _mm256_madd_epi16(p(3), one));
                return _mm256_add_epi32(_mm256_add_epi32(acc, low), high);
            }
            // Sums of two products would overflow: multiply the even and the odd bytes as 16-bit values.
            let p = |i: usize| {
                let (x, low) = (x(i), _mm256_set1_epi16(0xFF));
                let (even, odd) =
                    (_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w[i])), _mm256_srai_epi16::<8>(w[i]));
                let even = _mm256_madd_epi16(even, _mm256_and_si256(x, low));
                _mm256_add_epi32(even, _mm256_madd_epi16(odd, _mm256_srli_epi16::<8>(x)))
            };
            let sum = _mm256_add_epi32(_mm256_add_epi32(p(0), p(1)), _mm256_add_epi32(p(2), p(3)));
            _mm256_add_epi32(acc, sum)
        })
    }
    #[inline(always)]
    fn tadd_bytes(self, _: i32, acc: __m256i, w: __m256i, x: u32) -> __m256i {
        v!(_mm256_add_epi16(acc, _mm256_maddubs_epi16(_mm256_set1_epi32(x as i32), w)))
    }
    #[inline(always)]
    fn twhole_sums(self, _: i32, a: __m256i) -> __m256i {
        v!(_mm256_madd_epi16(a, _mm256_set1_epi16(1)))
    }
    #[inline(always)]
    fn tmul16_pairs(self, acc: __m256i, w: __m256i, x: u32) -> __m256i {
        v!(_mm256_add_epi32(acc, _mm256_madd_epi16(w, _mm256_set1_epi32(x as i32))))
    }
    #[inline(always)]
    fn to_g(self, a: __m256i) -> __m256 {
        v!(_mm256_cvtepi32_ps(a))
    }

    #[inline(always)]
    fn gload(self, from: &[f32]) -> __m256 {
        let from = &from[..8];
        v!(_mm256_loadu_ps(from.as_ptr()))
    }
    #[inline(always)]
    fn gstore(self, a: __m256, to: &mut [f32]) {
        let to = &mut to[..8];
        v!(_mm256_storeu_ps(to.as_mut_ptr(), a))
    }
    #[inline(always)]
    fn gsplat(self, value: f32) -> __m256 {
        v!(_mm256_set1_ps(value))
    }
    #[inline(always)]
    fn gadd(self, a: __m256, b: __m256) -> __m256 {
        v!(_mm256_add_ps(a, b))
    }
    #[inline(always)]
    fn gmul(self, a: __m256, b: __m256) -> __m256 {
        v!(_mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn gfma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        v!(_mm256_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn gfnma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        v!(_mm256_fnmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn gsum(self, a: __m256) -> f32 {
        self.fsum(a)
    }
    #[inline(always)]
    fn gload_f32(self, from: &[u8]) -> __m256 {
        let from = &from[..32];
        v!(_mm256_loadu_ps(from.as_ptr().cast()))
    }
    #[inline(always)]
    fn gload_f16(self, from: &[u8]) -> __m256 {
        let from = &from[..16];
        v!(_mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())))
    }
    #[inline(always)]
    fn gload_bf16(self, from: &[u8]) -> __m256 {
        let from = &from[..16];
        v!({
            let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.as_ptr().cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
        })
    }
    #[inline(always)]
    fn gload_f8(self, from: &[u8]) -> __m256 {
        let from = &from[..8];
        v!({
            // As F16 bits a code is 2⁻⁸ of its value: sign and the other bits move apart by one, then all up.
            let codes = _mm_unpacklo_epi8(_mm_setzero_si128(), _mm_loadl_epi64(from.as_ptr().cast()));
            let bits = _mm_and_si128(_mm_srai_epi16::<1>(codes), _mm_set1_epi16(0xBF80u16 as i16));
            let largest = _mm_set1_epi16(0x7F00);
            let nan = _mm_cmpeq_epi16(_mm_and_si128(codes, largest), largest);
            let bits = _mm_or_si128(bits, _mm_and_si128(nan, _mm_set1_epi16(0x7E00)));
            _mm256_mul_ps(_mm256_cvtph_ps(bits), _mm256_set1_ps(256.0))
        })
    }
}
