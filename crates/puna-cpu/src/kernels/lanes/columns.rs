//! Operations for weights that become columns while they are still packed: lane `i` of the widest vectors, of sixteen
//! words, belongs to row `i` of sixteen. AVX-512 has them, and its portable twin.
//!
//! A word holds four codes of a byte, eight nibbles, four scales or two halves, whatever the format has there; what
//! takes a row of weights apart takes a column apart. So half the words or less are moved between lanes that would be if
//! codes were unpacked first.

#[cfg(target_arch = "x86_64")]
use crate::isa::Avx512;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;

use super::{Lanes, Portable};
use half::f16;

/// Rows that become columns together.
pub(crate) const ROWS: usize = 16;

/// A computation on columns. As with [`Kernel`](super::Kernel), everything must be `#[inline(always)]`.
pub(crate) trait ColumnsKernel {
    fn run<L: Columns>(self, lanes: L);
}

/// An instruction set with sixteen lanes.
pub(crate) trait Columns: Lanes {
    /// Runs the kernel with the features of the instruction set enabled.
    fn enter_columns(self, kernel: impl ColumnsKernel);

    /// Lane `i` of vector `j` is word `j` of row `i`.
    fn tcolumns(self, rows: [&[u8; 16]; ROWS]) -> [Self::T; 4];
    fn tstore(self, a: Self::T, to: &mut [u32]);
    fn tsplat8(self, value: i8) -> Self::T;
    fn tand(self, a: Self::T, b: Self::T) -> Self::T;
    fn tor(self, a: Self::T, b: Self::T) -> Self::T;
    /// Shifts 16-bit lanes. The count should be a constant once loops are unrolled.
    fn tshr16(self, a: Self::T, bits: usize) -> Self::T;
    fn tshl16(self, a: Self::T, bits: usize) -> Self::T;
    fn tsub8(self, a: Self::T, b: Self::T) -> Self::T;
    fn tsub32(self, a: Self::T, b: Self::T) -> Self::T;
    /// Each byte, up to 15, replaced by that entry of the table.
    fn tlookup(self, table: &[i8; 16], index: Self::T) -> Self::T;
    /// Byte `i` of each word, signed, widened.
    fn tbyte(self, a: Self::T, i: usize) -> Self::T;
    /// The f16 in the low half of each word, widened.
    fn tlow_f16(self, a: Self::T) -> Self::G;
    /// The f16 in the high half of each word, widened.
    fn thigh_f16(self, a: Self::T) -> Self::G;
}

type T = [i32; 16];

fn bytes(a: T, b: T, f: impl Fn(u8, u8) -> u8) -> T {
    core::array::from_fn(|i| {
        let (a, b) = (a[i].to_le_bytes(), b[i].to_le_bytes());
        i32::from_le_bytes(core::array::from_fn(|j| f(a[j], b[j])))
    })
}

fn halves(a: T, f: impl Fn(u16) -> u16) -> T {
    a.map(|a| {
        let a = a.cast_unsigned();
        (u32::from(f(a as u16)) | u32::from(f((a >> 16) as u16)) << 16).cast_signed()
    })
}

impl Columns for Portable {
    fn enter_columns(self, kernel: impl ColumnsKernel) {
        kernel.run(self);
    }
    fn tcolumns(self, rows: [&[u8; 16]; ROWS]) -> [T; 4] {
        core::array::from_fn(|j| core::array::from_fn(|i| i32::from_le_bytes(rows[i].as_chunks().0[j])))
    }
    fn tstore(self, a: T, to: &mut [u32]) {
        to[..16].copy_from_slice(&a.map(i32::cast_unsigned));
    }
    fn tsplat8(self, value: i8) -> T {
        [i32::from_le_bytes([value as u8; 4]); 16]
    }
    fn tand(self, a: T, b: T) -> T {
        core::array::from_fn(|i| a[i] & b[i])
    }
    fn tor(self, a: T, b: T) -> T {
        core::array::from_fn(|i| a[i] | b[i])
    }
    fn tshr16(self, a: T, bits: usize) -> T {
        halves(a, |a| a >> bits)
    }
    fn tshl16(self, a: T, bits: usize) -> T {
        halves(a, |a| a << bits)
    }
    fn tsub8(self, a: T, b: T) -> T {
        bytes(a, b, u8::wrapping_sub)
    }
    fn tsub32(self, a: T, b: T) -> T {
        core::array::from_fn(|i| a[i].wrapping_sub(b[i]))
    }
    fn tlookup(self, table: &[i8; 16], index: T) -> T {
        bytes(index, index, |i, _| table[usize::from(i % 16)] as u8)
    }
    fn tbyte(self, a: T, i: usize) -> T {
        a.map(|a| i32::from(a.to_le_bytes()[i] as i8))
    }
    fn tlow_f16(self, a: T) -> [f32; 16] {
        a.map(|a| f16::from_bits(a as u16).to_f32())
    }
    fn thigh_f16(self, a: T) -> [f32; 16] {
        a.map(|a| f16::from_bits((a >> 16) as u16).to_f32())
    }
}

/// Evaluates calls of intrinsics.
#[cfg(target_arch = "x86_64")]
macro_rules! v {
    ($calls:expr) => {
        // SAFETY: only register operations, and loads and stores of references or of slices whose length was just
        // checked; `self` proves that the processor has the instructions.
        unsafe { $calls }
    };
}

#[cfg(target_arch = "x86_64")]
impl Columns for Avx512 {
    #[inline(always)]
    fn enter_columns(self, kernel: impl ColumnsKernel) {
        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        fn inner(lanes: Avx512, kernel: impl ColumnsKernel) {
            kernel.run(lanes);
        }
        // SAFETY: `self` proves that the processor has these features.
        unsafe { inner(self, kernel) }
    }

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
    fn tshr16(self, a: __m512i, bits: usize) -> __m512i {
        v!(_mm512_srl_epi16(a, _mm_cvtsi64_si128(bits as i64)))
    }
    #[inline(always)]
    fn tshl16(self, a: __m512i, bits: usize) -> __m512i {
        v!(_mm512_sll_epi16(a, _mm_cvtsi64_si128(bits as i64)))
    }
    #[inline(always)]
    fn tsub8(self, a: __m512i, b: __m512i) -> __m512i {
        v!(_mm512_sub_epi8(a, b))
    }
    #[inline(always)]
    fn tsub32(self, a: __m512i, b: __m512i) -> __m512i {
        v!(_mm512_sub_epi32(a, b))
    }
    #[inline(always)]
    fn tlookup(self, table: &[i8; 16], index: __m512i) -> __m512i {
        v!({
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, index)
        })
    }
    #[inline(always)]
    fn tbyte(self, a: __m512i, i: usize) -> __m512i {
        v!({
            let top = _mm512_sll_epi32(a, _mm_cvtsi64_si128(24 - 8 * i as i64));
            _mm512_srai_epi32::<24>(top)
        })
    }
    #[inline(always)]
    fn tlow_f16(self, a: __m512i) -> __m512 {
        v!(_mm512_cvtph_ps(_mm512_cvtepi32_epi16(a)))
    }
    #[inline(always)]
    fn thigh_f16(self, a: __m512i) -> __m512 {
        v!(_mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(a))))
    }
}
