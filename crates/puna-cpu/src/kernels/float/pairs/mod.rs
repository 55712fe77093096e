//! Weights in BF16 by activations rounded to BF16: products of pairs, which AVX-512 BF16 has an instruction for, and AMX one for
//! tiles of them.
//!
//! Few rows are multiplied by the weights as they come from memory, many by panels whose columns the weights become. With AMX
//! weights of block formats become such columns too.
//!
//! The kernels before, dot products of three rows by four over 768 inputs, reached on one thread of a Zen 5 249 GFLOP/s with
//! 32 rows and 326 with 512, of 542, and decoded at 27 GB/s of 43.6: each took two or three additions across lanes for every
//! hundred products, and no row of weights was read to its end. These have not been timed on such a processor yet.

mod blocks;
mod few;
mod many;
mod rows;
mod tiles;

use super::Product;
use crate::kernels::blocks::Block;
use crate::kernels::lanes::{Lanes, Portable, Wide};
use crate::matmul::Kernels;

/// The product of weights and activations in BF16, on the instructions of the processor or their emulation.
pub(super) fn product(kernels: &Kernels, p: Product<'_>) {
    match p.x.n_rows <= few::ROWS {
        true => enter(kernels, few::Few(p)),
        false => many::product::<rows::Rows<false>>(kernels, p),
    }
}

/// The product of weights in F16, rounded to BF16, and such activations.
pub(super) fn halves(kernels: &Kernels, p: Product<'_>) {
    many::product::<rows::Rows<true>>(kernels, p);
}

/// The product of weights of a block format, rounded to BF16, and such activations.
pub(super) fn blocks<B: Block>(kernels: &Kernels, p: Product<'_>) {
    many::product::<blocks::Blocks<B>>(kernels, p);
}

/// 16 pairs of BF16.
type Vector<P> = <<P as Pairs>::Lanes as Lanes>::T;
/// As many F32.
type Sums<P> = <<P as Pairs>::Lanes as Lanes>::G;

/// Lanes that multiply pairs.
trait Pairs: Copy {
    type Lanes: Wide;

    fn lanes(self) -> Self::Lanes;
    /// A pair in all lanes.
    fn splat(self, pair: &[u8; 4]) -> Vector<Self>;
    /// `sums` plus, in each lane, the products of the first and of the second values of two pairs.
    fn dot(self, sums: Sums<Self>, a: Vector<Self>, b: Vector<Self>) -> Sums<Self>;
}

/// A computation to be compiled for the instruction. `run` must be `#[inline(always)]`.
trait Kernel {
    fn run<P: Pairs>(self, p: P);
}

fn enter(kernels: &Kernels, kernel: impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    if let Some(bf16) = kernels.avx512_bf16() {
        return x86::enter(bf16, kernel);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = kernels;
    kernel.run(Portable);
}

/// What the instruction computes, for processors without it.
impl Pairs for Portable {
    type Lanes = Self;

    fn lanes(self) -> Self {
        self
    }
    fn splat(self, pair: &[u8; 4]) -> [i32; 16] {
        [i32::from_le_bytes(*pair); 16]
    }
    fn dot(self, sums: [f32; 16], a: [i32; 16], b: [i32; 16]) -> [f32; 16] {
        let low = |pair: i32| f32::from_bits((pair as u32) << 16);
        let high = |pair: i32| f32::from_bits(pair as u32 & 0xFFFF_0000);
        core::array::from_fn(|i| sums[i] + low(a[i]) * low(b[i]) + high(a[i]) * high(b[i]))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Kernel, Pairs};
    use crate::isa::{Avx512, Avx512Bf16};
    use core::arch::x86_64::*;

    pub(super) fn enter(bf16: Avx512Bf16, kernel: impl Kernel) {
        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")]
        fn inner(bf16: Avx512Bf16, kernel: impl Kernel) {
            kernel.run(bf16);
        }
        // SAFETY: the token proves that the processor has these features.
        unsafe { inner(bf16, kernel) }
    }

    impl Pairs for Avx512Bf16 {
        type Lanes = Avx512;

        #[inline(always)]
        fn lanes(self) -> Avx512 {
            self.0
        }
        #[inline(always)]
        fn splat(self, pair: &[u8; 4]) -> __m512i {
            // SAFETY: a register operation; the token proves that the processor has it.
            unsafe { _mm512_set1_epi32(i32::from_le_bytes(*pair)) }
        }
        #[inline(always)]
        fn dot(self, sums: __m512, a: __m512i, b: __m512i) -> __m512 {
            // SAFETY: both are 512 bits, and any bits are a value.
            let pairs = |v| unsafe { core::mem::transmute::<__m512i, __m512bh>(v) };
            // SAFETY: a register operation; the token proves that the processor has it.
            unsafe { _mm512_dpbf16_ps(sums, pairs(a), pairs(b)) }
        }
    }
}
