//! Lanes of AVX-VNNI: those of AVX2, with dot products of their own. Processors without AVX-512 have it, such as Intel's for
//! desktops and laptops since 2021.
//!
//! With the feature `twin` the instruction is spelled out in AVX2, so that a processor without it tests what is built
//! on it. No processor at hand has it: beside that twin, the kernels have run on an emulated one (`cargo xtask emulate`), never timed.

use super::{Kernel, Lanes, Portable};
use crate::isa::AvxVnni;
use core::arch::x86_64::*;

/// `acc` plus, in each 32-bit lane, the sum of the products of four unsigned by four signed bytes.
#[inline]
#[cfg(not(feature = "twin"))]
#[target_feature(enable = "avx2,avxvnni")]
fn dpbusd(acc: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
    _mm256_dpbusd_avx_epi32(acc, unsigned, signed)
}

/// The same in AVX2: the even and the odd bytes as 16-bit values.
#[inline]
#[cfg(feature = "twin")]
#[target_feature(enable = "avx2")]
fn dpbusd(acc: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
    let even = _mm256_and_si256(unsigned, _mm256_set1_epi16(0xFF));
    let even = _mm256_madd_epi16(even, _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(signed)));
    let odd = _mm256_madd_epi16(_mm256_srli_epi16::<8>(unsigned), _mm256_srai_epi16::<8>(signed));
    _mm256_add_epi32(acc, _mm256_add_epi32(even, odd))
}

impl AvxVnni {
    #[inline(always)]
    fn dot(self, acc: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
        // SAFETY: register operations; `self` proves that the processor has the instructions.
        unsafe { dpbusd(acc, unsigned, signed) }
    }
}

impl Lanes for AvxVnni {
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
        #[cfg_attr(not(feature = "twin"), target_feature(enable = "avx2,fma,f16c,avxvnni"))]
        #[cfg_attr(feature = "twin", target_feature(enable = "avx2,fma,f16c"))]
        fn inner(lanes: AvxVnni, kernel: impl Kernel) {
            kernel.run(lanes);
        }
        // SAFETY: `self` proves that the processor has these features.
        unsafe { inner(self, kernel) }
    }

    vectors_as_base! {}
    wide_vectors_as_base! {}

    #[inline(always)]
    fn dot2(self, w: [__m256i; 2], x: [__m256i; 2]) -> __m256i {
        self.dot(self.dot(self.splat8(0), w[0], x[0]), w[1], x[1])
    }
    #[inline(always)]
    fn dot_signed(self, w: __m256i, x: __m256i) -> __m256i {
        // SAFETY: register operations; `self` proves that the processor has the instructions.
        let (size, x) = unsafe { (_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)) };
        self.dot(self.splat8(0), size, x)
    }

    #[inline(always)]
    fn tadd_bytes(self, _: i32, acc: __m256i, w: __m256i, x: u32) -> __m256i {
        // SAFETY: register operations; `self` proves that the processor has the instructions.
        self.dot(acc, unsafe { _mm256_set1_epi32(x as i32) }, w)
    }
    #[inline(always)]
    fn twhole_sums(self, _: i32, a: __m256i) -> __m256i {
        a
    }
}
