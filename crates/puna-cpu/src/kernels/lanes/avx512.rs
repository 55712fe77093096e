//! Lanes of AVX-512 with VNNI. The 32-byte vectors are those of AVX2, with dot products of their own.

use super::{Kernel, Lanes};
use crate::isa::Avx512;
use core::arch::x86_64::*;

/// Evaluates calls of intrinsics.
macro_rules! v {
    ($calls:expr) => {
        // SAFETY: only register operations, and loads and stores of references or of slices whose length was just
        // checked; `self` proves that the processor has the instructions.
        unsafe { $calls }
    };
}

impl Lanes for Avx512 {
    type V = __m256i;
    type F = __m256;
    type T = __m512i;
    type G = __m512;
    type Wide = Self;
    const LANES: usize = 16;
    const WIDE: bool = true;
    // One thread of a Zen 5 that reads 38 GB/s, decode in GB/s of weights with 3, 4, 6, 8, 12, 16 and 32 KiB, one sweep: Q4_0
    // 28.8, 30.3, 31.8, 36.5, 35.8, 37.0, 33.4; Q4_K 31.1, 31.0, 32.1, 35.3, 35.0, 35.6, 34.8; Q6_K 31.4, 31.8, 36.2, 39.8,
    // 38.8, 38.5, 37.6. Hints for the second cache, or for none, gained nothing that stood out of the noise.
    const AHEAD: usize = 8192;

    #[inline(always)]
    fn wide(self) -> Self {
        self
    }
    #[inline(always)]
    fn enter(self, kernel: impl Kernel) {
        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        fn inner(lanes: Avx512, kernel: impl Kernel) {
            kernel.run(lanes);
        }
        // SAFETY: `self` proves that the processor has these features.
        unsafe { inner(self, kernel) }
    }

    vectors_as_base! {}

    #[inline(always)]
    fn dot2(self, w: [__m256i; 2], x: [__m256i; 2]) -> __m256i {
        v!(_mm256_dpbusd_epi32(_mm256_dpbusd_epi32(_mm256_setzero_si256(), w[0], x[0]), w[1], x[1]))
    }
    #[inline(always)]
    fn dot_signed(self, w: __m256i, x: __m256i) -> __m256i {
        v!(_mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_abs_epi8(w), _mm256_sign_epi8(x, w)))
    }

    #[inline(always)]
    fn tload(self, from: &[u32]) -> __m512i {
        let from = &from[..16];
        v!(_mm512_loadu_si512(from.as_ptr().cast()))
    }
    #[inline(always)]
    fn tzero(self) -> __m512i {
        v!(_mm512_setzero_si512())
    }
    #[inline(always)]
    fn tadd_bytes(self, _: i32, acc: __m512i, w: __m512i, x: u32) -> __m512i {
        v!(_mm512_dpbusd_epi32(acc, _mm512_set1_epi32(x as i32), w))
    }
    #[inline(always)]
    fn twhole_sums(self, _: i32, a: __m512i) -> __m512i {
        a
    }
    #[inline(always)]
    fn tmul16_pairs(self, acc: __m512i, w: __m512i, x: u32) -> __m512i {
        v!(_mm512_dpwssd_epi32(acc, w, _mm512_set1_epi32(x as i32)))
    }
    #[inline(always)]
    fn to_g(self, a: __m512i) -> __m512 {
        v!(_mm512_cvtepi32_ps(a))
    }

    #[inline(always)]
    fn gload(self, from: &[f32]) -> __m512 {
        let from = &from[..16];
        v!(_mm512_loadu_ps(from.as_ptr()))
    }
    #[inline(always)]
    fn gstore(self, a: __m512, to: &mut [f32]) {
        let to = &mut to[..16];
        v!(_mm512_storeu_ps(to.as_mut_ptr(), a))
    }
    #[inline(always)]
    fn gsplat(self, value: f32) -> __m512 {
        v!(_mm512_set1_ps(value))
    }
    #[inline(always)]
    fn gadd(self, a: __m512, b: __m512) -> __m512 {
        v!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn gmul(self, a: __m512, b: __m512) -> __m512 {
        v!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn gfma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        v!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn gfnma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        v!(_mm512_fnmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn gsum(self, a: __m512) -> f32 {
        self.fsum(v!(_mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a))))
    }
    #[inline(always)]
    fn gload_f32(self, from: &[u8]) -> __m512 {
        let from = &from[..64];
        v!(_mm512_loadu_ps(from.as_ptr().cast()))
    }
    #[inline(always)]
    fn gload_f16(self, from: &[u8]) -> __m512 {
        let from = &from[..32];
        v!(_mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())))
    }
    #[inline(always)]
    fn gload_bf16(self, from: &[u8]) -> __m512 {
        let from = &from[..32];
        v!({
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        })
    }
    #[inline(always)]
    fn gload_f8(self, from: &[u8]) -> __m512 {
        let from = &from[..16];
        v!({
            // As with AVX2.
            let codes = _mm256_slli_epi16::<8>(_mm256_cvtepu8_epi16(_mm_loadu_si128(from.as_ptr().cast())));
            let bits = _mm256_and_si256(_mm256_srai_epi16::<1>(codes), _mm256_set1_epi16(0xBF80u16 as i16));
            let largest = _mm256_set1_epi16(0x7F00);
            let nan = _mm256_cmpeq_epi16(_mm256_and_si256(codes, largest), largest);
            let bits = _mm256_or_si256(bits, _mm256_and_si256(nan, _mm256_set1_epi16(0x7E00)));
            _mm512_mul_ps(_mm512_cvtph_ps(bits), _mm512_set1_ps(256.0))
        })
    }
}
