//! Columns of eight rows with AVX2, and with AVX-VNNI, which keeps sums in 32 bits.

use super::columns::{FOUR_BITS, ROWS};
use super::{Columns, Lanes};
use crate::isa::{Avx2, AvxVnni};
use core::arch::x86_64::*;

/// Evaluates calls of intrinsics.
macro_rules! v {
    ($calls:expr) => {
        // SAFETY: only register operations; `self` proves that the processor has the instructions.
        unsafe { $calls }
    };
}

impl Columns for Avx2 {
    columns_as_vectors! {}

    #[inline(always)]
    fn tstart(self, limit: i32, codes: &[__m256i]) -> __m256i {
        // Codes that fit in a byte together are multiplied together.
        let mut sums = self.splat8(0);
        for codes in codes.chunks(if limit <= 16 { 4 } else { 2 }) {
            let mut bytes = self.splat8(0);
            for codes in codes {
                bytes = v!(_mm256_add_epi8(bytes, *codes));
            }
            sums = v!(_mm256_sub_epi16(sums, _mm256_maddubs_epi16(_mm256_set1_epi8(-128), bytes)));
        }
        sums
    }
    #[inline(always)]
    fn tbyte(self, a: __m256i, i: usize) -> __m256i {
        v!(_mm256_srai_epi32::<24>(_mm256_sll_epi32(a, _mm_cvtsi32_si128(24 - 8 * i as i32))))
    }
    #[inline(always)]
    fn gwords(self, a: __m256i, high: bool) -> __m256 {
        v!({
            // Each half's words first, then both halves' side by side.
            let low = if high {
                _mm256_srli_epi32::<16>(a)
            } else {
                _mm256_and_si256(a, _mm256_set1_epi32(0xFFFF))
            };
            let packed = _mm256_permute4x64_epi64::<0b10_00>(_mm256_packus_epi32(low, low));
            _mm256_cvtph_ps(_mm256_castsi256_si128(packed))
        })
    }
    #[inline(always)]
    fn gone_nan(self, a: __m256) -> __m256 {
        v!(_mm256_blendv_ps(a, _mm256_set1_ps(f32::NAN), _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a)))
    }
    #[inline(always)]
    fn tbf16_pairs(self, low: __m256, high: __m256) -> __m256i {
        v!({
            let half = _mm256_set1_epi32(0x8000);
            let low = _mm256_srli_epi32::<16>(_mm256_add_epi32(_mm256_castps_si256(low), half));
            let high = _mm256_add_epi32(_mm256_castps_si256(high), half);
            _mm256_blend_epi16::<0b1010_1010>(low, high)
        })
    }
}

impl Columns for AvxVnni {
    columns_as_vectors! {}

    as_base! {
        tbyte(a: __m256i, i: usize) -> __m256i;
        gwords(a: __m256i, high: bool) -> __m256;
        gone_nan(a: __m256) -> __m256;
        tbf16_pairs(low: __m256, high: __m256) -> __m256i;
    }

    #[inline(always)]
    fn tstart(self, _: i32, codes: &[__m256i]) -> __m256i {
        let mut sums = self.splat8(0);
        for codes in codes {
            sums = self.tadd_bytes(128, sums, *codes, 0x8080_8080);
        }
        self.sub32(self.splat8(0), sums)
    }
}
