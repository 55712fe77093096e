//! 64-byte vectors of AVX-512.

use super::columns::{FOUR_BITS, ROWS};
use super::{Columns, Lanes, Wide};
use crate::isa::Avx512;
use core::arch::x86_64::*;

/// Evaluates calls of intrinsics.
macro_rules! v {
    ($calls:expr) => {
        // SAFETY: only register operations, loads of references, and stores to slices whose length was just checked; `self`
        // proves that the processor has the instructions.
        unsafe { $calls }
    };
}

impl Avx512 {
    /// A count for each 16-bit lane; the compiler sees constants.
    #[inline(always)]
    fn counts(self, [a, b, c, d]: [u16; 4]) -> __m512i {
        self.tbytes(bytemuck::cast_ref(&[[a; 8], [b; 8], [c; 8], [d; 8]]))
    }
}

impl Columns for Avx512 {
    #[inline(always)]
    fn tcolumns(self, rows: [&[u8; 16]; ROWS]) -> [__m512i; 4] {
        // Every fourth row in the quarters of a vector, so that lanes are in order after they have changed places within
        // quarters.
        let mut quarters = [self.tzero(); 4];
        for (k, vector) in quarters.iter_mut().enumerate() {
            *vector = v!({
                let row = |i: usize| _mm_loadu_si128(rows[i].as_ptr().cast());
                let vector = _mm512_castsi128_si512(row(k));
                let vector = _mm512_inserti32x4::<1>(vector, row(4 + k));
                let vector = _mm512_inserti32x4::<2>(vector, row(8 + k));
                _mm512_inserti32x4::<3>(vector, row(12 + k))
            });
        }
        let [a, b, c, d] = quarters;
        v!({
            let (low, high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
            let (low2, high2) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
            [
                _mm512_unpacklo_epi64(low, high),
                _mm512_unpackhi_epi64(low, high),
                _mm512_unpacklo_epi64(low2, high2),
                _mm512_unpackhi_epi64(low2, high2),
            ]
        })
    }
    #[inline(always)]
    fn tstore(self, a: __m512i, to: &mut [u32]) {
        let to = &mut to[..16];
        v!(_mm512_storeu_si512(to.as_mut_ptr().cast(), a))
    }
    #[inline(always)]
    fn tstart(self, _: i32, codes: &[__m512i]) -> __m512i {
        let mut sums = self.tzero();
        for codes in codes {
            sums = self.tadd_bytes(128, sums, *codes, 0x8080_8080);
        }
        self.tsub32(self.tzero(), sums)
    }
    #[inline(always)]
    fn tsplat8(self, value: i8) -> __m512i {
        v!(_mm512_set1_epi8(value))
    }
    #[inline(always)]
    fn tand(self, a: __m512i, b: __m512i) -> __m512i {
        v!(_mm512_and_si512(a, b))
    }
    #[inline(always)]
    fn tor(self, a: __m512i, b: __m512i) -> __m512i {
        v!(_mm512_or_si512(a, b))
    }
    #[inline(always)]
    fn tsub8(self, a: __m512i, b: __m512i) -> __m512i {
        v!(_mm512_sub_epi8(a, b))
    }
    #[inline(always)]
    fn tbyte(self, a: __m512i, i: usize) -> __m512i {
        v!({
            let top = _mm512_sll_epi32(a, _mm_cvtsi64_si128(24 - 8 * i as i64));
            _mm512_srai_epi32::<24>(top)
        })
    }
    #[inline(always)]
    fn tclear(self, a: __m512i, four: usize) -> __m512i {
        let [bytes, bits] = &FOUR_BITS[four % 8];
        let all = self.tshuffle8(a, self.tjoin4([bytes; 4]));
        v!(_mm512_maskz_set1_epi8(_mm512_testn_epi8_mask(all, self.tjoin4([bits; 4])), -1))
    }
    #[inline(always)]
    fn gwords(self, a: __m512i, high: bool) -> __m512 {
        v!({
            let low = if high { _mm512_srli_epi32::<16>(a) } else { a };
            _mm512_cvtph_ps(_mm512_cvtepi32_epi16(low))
        })
    }
    #[inline(always)]
    fn gone_nan(self, a: __m512) -> __m512 {
        v!(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), a, _mm512_set1_ps(f32::NAN)))
    }
    #[inline(always)]
    fn tbf16_pairs(self, low: __m512, high: __m512) -> __m512i {
        v!({
            let half = _mm512_set1_epi32(0x8000);
            let low = _mm512_srli_epi32::<16>(_mm512_add_epi32(_mm512_castps_si512(low), half));
            let high = _mm512_add_epi32(_mm512_castps_si512(high), half);
            // Bits of `high` where the mask has ones, else those of `low`.
            _mm512_ternarylogic_epi32::<0b1101_1000>(low, high, _mm512_set1_epi32(0xFFFF_0000u32 as i32))
        })
    }
    #[inline(always)]
    fn tdown(self, a: __m512i, bits: usize) -> __m512i {
        self.tshr16(a, [bits as u16; 4])
    }
    #[inline(always)]
    fn tup(self, a: __m512i, bits: usize) -> __m512i {
        self.tshl16(a, [bits as u16; 4])
    }
    #[inline(always)]
    fn twiden_bytes(self, a: __m512i) -> [__m512i; 2] {
        v!([_mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(a)), _mm512_srai_epi16::<8>(a)])
    }
    #[inline(always)]
    fn tlookup(self, table: &[u8; 16], index: __m512i) -> __m512i {
        self.tshuffle8(self.tjoin4([table; 4]), index)
    }
}

impl Wide for Avx512 {
    #[inline(always)]
    fn tbytes(self, from: &[u8; 64]) -> __m512i {
        v!(_mm512_loadu_si512(from.as_ptr().cast()))
    }
    #[inline(always)]
    fn ttwice(self, from: &[u8; 32]) -> __m512i {
        v!(_mm512_broadcast_i64x4(_mm256_loadu_si256(from.as_ptr().cast())))
    }
    #[inline(always)]
    fn tjoin4(self, [a, b, c, d]: [&[u8; 16]; 4]) -> __m512i {
        self.thalves(self.load2(a, b), self.load2(c, d))
    }
    #[inline(always)]
    fn thalves(self, low: __m256i, high: __m256i) -> __m512i {
        v!(_mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high))
    }
    #[inline(always)]
    fn tlow(self, a: __m512i) -> __m256i {
        v!(_mm512_castsi512_si256(a))
    }
    #[inline(always)]
    fn thigh(self, a: __m512i) -> __m256i {
        v!(_mm512_extracti64x4_epi64::<1>(a))
    }
    #[inline(always)]
    fn txor(self, a: __m512i, b: __m512i) -> __m512i {
        v!(_mm512_xor_si512(a, b))
    }
    #[inline(always)]
    fn tshr16(self, a: __m512i, bits: [u16; 4]) -> __m512i {
        v!(_mm512_srlv_epi16(a, self.counts(bits)))
    }
    #[inline(always)]
    fn tshl16(self, a: __m512i, bits: [u16; 4]) -> __m512i {
        v!(_mm512_sllv_epi16(a, self.counts(bits)))
    }
    #[inline(always)]
    fn tsub16(self, a: __m512i, b: __m512i) -> __m512i {
        v!(_mm512_sub_epi16(a, b))
    }
    #[inline(always)]
    fn tmul16(self, a: __m512i, b: __m512i) -> __m512i {
        v!(_mm512_mullo_epi16(a, b))
    }
    #[inline(always)]
    fn tadd32(self, a: __m512i, b: __m512i) -> __m512i {
        v!(_mm512_add_epi32(a, b))
    }
    #[inline(always)]
    fn tsub32(self, a: __m512i, b: __m512i) -> __m512i {
        v!(_mm512_sub_epi32(a, b))
    }
    #[inline(always)]
    fn tadd8_where(self, a: __m512i, value: __m512i, bits: __m512i, of: __m512i) -> __m512i {
        v!(_mm512_mask_add_epi8(a, _mm512_test_epi8_mask(bits, of), a, value))
    }
    #[inline(always)]
    fn tshuffle8(self, table: __m512i, index: __m512i) -> __m512i {
        v!(_mm512_shuffle_epi8(table, index))
    }
    #[inline(always)]
    fn tdot8(self, acc: __m512i, unsigned: __m512i, signed: __m512i) -> __m512i {
        v!(_mm512_dpbusd_epi32(acc, unsigned, signed))
    }
    #[inline(always)]
    fn tmul8_pairs_signed(self, w: __m512i, x: __m512i) -> __m512i {
        v!({
            let x = _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(w), _mm512_setzero_si512(), x);
            _mm512_maddubs_epi16(_mm512_abs_epi8(w), x)
        })
    }
    #[inline(always)]
    fn tpack16(self, a: __m512i, b: __m512i) -> __m512i {
        v!(_mm512_packs_epi32(a, b))
    }
    #[inline(always)]
    fn tmul16_sums(self, a: __m512i, b: __m512i) -> __m512i {
        v!(_mm512_madd_epi16(a, b))
    }
    #[inline(always)]
    fn tpick16(self, a: __m512i, index: &[u16; 32]) -> __m512i {
        v!(_mm512_permutexvar_epi16(self.tbytes(bytemuck::cast_ref(index)), a))
    }
    #[inline(always)]
    fn tpick16_2(self, a: __m512i, b: __m512i, index: &[u16; 32]) -> __m512i {
        v!(_mm512_permutex2var_epi16(a, self.tbytes(bytemuck::cast_ref(index)), b))
    }
    #[inline(always)]
    fn tpick32_2(self, a: __m512i, b: __m512i, index: &[u32; 16]) -> __m512i {
        v!(_mm512_permutex2var_epi32(a, self.tload(index), b))
    }
    #[inline(always)]
    fn gtwice(self, a: __m256) -> __m512 {
        v!(_mm512_broadcast_f32x8(a))
    }
    #[inline(always)]
    fn ghalf(self, from: &[u8; 2]) -> __m512 {
        v!(_mm512_cvtph_ps(_mm256_set1_epi16(i16::from_le_bytes(*from))))
    }
    #[inline(always)]
    fn gpair(self, from: &[u8; 4]) -> [__m512; 2] {
        v!({
            let both = _mm512_cvtph_ps(_mm256_set1_epi32(i32::from_le_bytes(*from)));
            [_mm512_moveldup_ps(both), _mm512_movehdup_ps(both)]
        })
    }
    #[inline(always)]
    fn ghalves(self, a: __m256i) -> __m512 {
        v!(_mm512_cvtph_ps(a))
    }
}
