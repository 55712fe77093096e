//! Columns of eight rows with AVX2, and with AVX-VNNI, which keeps sums in 32 bits.

use super::columns::ROWS;
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
    #[inline(always)]
    fn tcolumns(self, rows: [&[u8; 16]; ROWS]) -> [__m256i; 4] {
        // Every fourth row in the halves of a vector, so that lanes are in order after they have changed places within halves.
        let half = |i: usize| self.load2(rows[i], rows[4 + i]);
        let (a, b, c, d) = (half(0), half(1), half(2), half(3));
        let (low, high) = (self.zip32_low(a, b), self.zip32_low(c, d));
        let (low2, high2) = (self.zip32_high(a, b), self.zip32_high(c, d));
        [
            self.zip64_low(low, high),
            self.zip64_high(low, high),
            self.zip64_low(low2, high2),
            self.zip64_high(low2, high2),
        ]
    }
    #[inline(always)]
    fn tstore(self, a: __m256i, to: &mut [u32]) {
        self.store(a, to);
    }
    #[inline(always)]
    fn tsplat8(self, value: i8) -> __m256i {
        self.splat8(value)
    }
    #[inline(always)]
    fn tand(self, a: __m256i, b: __m256i) -> __m256i {
        self.and(a, b)
    }
    #[inline(always)]
    fn tor(self, a: __m256i, b: __m256i) -> __m256i {
        self.or(a, b)
    }
    #[inline(always)]
    fn tdown(self, a: __m256i, bits: usize) -> __m256i {
        self.shr16(a, bits)
    }
    #[inline(always)]
    fn tup(self, a: __m256i, bits: usize) -> __m256i {
        self.shl16(a, bits)
    }
    #[inline(always)]
    fn tsub8(self, a: __m256i, b: __m256i) -> __m256i {
        self.sub8(a, b)
    }
    #[inline(always)]
    fn tbyte(self, a: __m256i, i: usize) -> __m256i {
        v!(_mm256_srai_epi32::<24>(_mm256_sll_epi32(a, _mm_cvtsi32_si128(24 - 8 * i as i32))))
    }
    #[inline(always)]
    fn twiden_bytes(self, a: __m256i) -> [__m256i; 2] {
        self.widen_bytes(a)
    }
    #[inline(always)]
    fn tlookup(self, table: &[u8; 16], index: __m256i) -> __m256i {
        self.shuffle8(self.load2(table, table), index)
    }
    #[inline(always)]
    fn tminus(self, sums: __m256i) -> __m256i {
        v!(_mm256_sub_epi16(_mm256_setzero_si256(), sums))
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
}

impl Columns for AvxVnni {
    as_base! {
        tcolumns(rows: [&[u8; 16]; ROWS]) -> [__m256i; 4];
        tstore(a: __m256i, to: &mut [u32]) -> ();
        tsplat8(value: i8) -> __m256i;
        tand(a: __m256i, b: __m256i) -> __m256i;
        tor(a: __m256i, b: __m256i) -> __m256i;
        tdown(a: __m256i, bits: usize) -> __m256i;
        tup(a: __m256i, bits: usize) -> __m256i;
        tsub8(a: __m256i, b: __m256i) -> __m256i;
        tbyte(a: __m256i, i: usize) -> __m256i;
        twiden_bytes(a: __m256i) -> [__m256i; 2];
        tlookup(table: &[u8; 16], index: __m256i) -> __m256i;
        gwords(a: __m256i, high: bool) -> __m256;
    }

    #[inline(always)]
    fn tminus(self, sums: __m256i) -> __m256i {
        self.sub32(self.splat8(0), sums)
    }
}
