//! BF16 weights by activations rounded to BF16: dot products of pairs, which AVX-512 BF16 has an instruction for.

use super::out_in::{Dots, Unit};
use crate::kernels::lanes::Portable;
use crate::matmul::Kernels;

/// Dot products with weights and activations in BF16, on the instructions of the processor or their emulation.
pub(super) fn dots(kernels: &Kernels, dots: Dots<'_>) {
    #[cfg(target_arch = "x86_64")]
    if let Some(bf16) = kernels.avx512_bf16() {
        return x86::run(bf16, dots);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = kernels;
    dots.run_on(Portable);
}

/// What the instruction computes, for processors without it: two products are added to each of 16 sums.
impl Unit for Portable {
    type Weights = [u8; 64];
    type Activations = [u8; 64];
    type Vector = [u8; 64];
    type Sum = [f32; 16];
    const VALUES: usize = 32;
    const VECTORS: usize = 1;

    fn weights(row: &[u8]) -> &[[u8; 64]] {
        row.as_chunks().0
    }
    fn last(rest: &[u8]) -> [u8; 64] {
        padded(rest)
    }
    fn activations(row: &[u8]) -> &[[u8; 64]] {
        row.as_chunks().0
    }
    fn load_weights(self, chunk: &[u8; 64], _: usize) -> [u8; 64] {
        *chunk
    }
    fn load_activations(self, chunk: &[u8; 64], _: usize) -> [u8; 64] {
        *chunk
    }
    fn zero(self) -> [f32; 16] {
        [0.0; 16]
    }
    fn multiply_add(self, w: [u8; 64], x: [u8; 64], mut sum: [f32; 16]) -> [f32; 16] {
        let value = |low: u8, high: u8| f32::from_bits(u32::from_le_bytes([0, 0, low, high]));
        let pairs = w.as_chunks::<4>().0.iter().zip(x.as_chunks::<4>().0);
        for (sum, (w, x)) in sum.iter_mut().zip(pairs) {
            *sum += value(w[0], w[1]) * value(x[0], x[1]) + value(w[2], w[3]) * value(x[2], x[3]);
        }
        sum
    }
    fn sum(self, sum: [f32; 16]) -> f32 {
        sum.iter().sum()
    }
}

fn padded(rest: &[u8]) -> [u8; 64] {
    let mut chunk = [0; 64];
    chunk[..rest.len()].copy_from_slice(rest);
    chunk
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Dots, Unit, padded};
    use crate::isa::Avx512Bf16;
    use core::arch::x86_64::*;

    pub(super) fn run(bf16: Avx512Bf16, dots: Dots<'_>) {
        #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
        fn inner(bf16: Avx512Bf16, dots: Dots<'_>) {
            dots.run_on(bf16);
        }
        // SAFETY: the token proves that the processor has these features.
        unsafe { inner(bf16, dots) }
    }

    /// Evaluates calls of intrinsics.
    macro_rules! v {
        ($calls:expr) => {
            // SAFETY: register operations and loads of references; the token proves that the processor has them.
            unsafe { $calls }
        };
    }

    impl Unit for Avx512Bf16 {
        type Weights = [u8; 64];
        type Activations = [u8; 64];
        type Vector = __m512i;
        type Sum = __m512;
        const VALUES: usize = 32;
        const VECTORS: usize = 1;

        #[inline(always)]
        fn weights(row: &[u8]) -> &[[u8; 64]] {
            row.as_chunks().0
        }
        #[inline(always)]
        fn last(rest: &[u8]) -> [u8; 64] {
            padded(rest)
        }
        #[inline(always)]
        fn activations(row: &[u8]) -> &[[u8; 64]] {
            row.as_chunks().0
        }
        #[inline(always)]
        fn load_weights(self, chunk: &[u8; 64], _: usize) -> __m512i {
            v!(_mm512_loadu_si512(chunk.as_ptr().cast()))
        }
        #[inline(always)]
        fn load_activations(self, chunk: &[u8; 64], _: usize) -> __m512i {
            v!(_mm512_loadu_si512(chunk.as_ptr().cast()))
        }
        #[inline(always)]
        fn zero(self) -> __m512 {
            v!(_mm512_setzero_ps())
        }
        #[inline(always)]
        fn multiply_add(self, w: __m512i, x: __m512i, sum: __m512) -> __m512 {
            // SAFETY: both are 512 bits, and any bits are a value.
            let pairs = |v| unsafe { core::mem::transmute::<__m512i, __m512bh>(v) };
            v!(_mm512_dpbf16_ps(sum, pairs(w), pairs(x)))
        }
        #[inline(always)]
        fn sum(self, sum: __m512) -> f32 {
            v!(_mm512_reduce_add_ps(sum))
        }
    }
}
