//! The smallest vector trait that the element-wise kernels and attention need.
//!
//! A kernel is a [`Kernel`]: written once over [`Simd`], compiled once for each instruction set by [`run`].

use crate::isa::Isa;
#[cfg(target_arch = "x86_64")]
use crate::isa::{Amx, Avx2, Avx512, Avx512Bf16, AvxVnni};
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
use crate::isa::{Neon, NeonDot};
use half::f16;

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod neon;

/// Vectors of `N` floats on one instruction set. A value of the type proves that the processor has it.
pub(crate) trait Simd: Copy {
    type V: Copy;
    /// Floats in a vector.
    const N: usize;
    /// Whether halves are loaded about as fast as floats.
    const READS_F16: bool;

    fn splat(self, v: f32) -> Self::V;
    /// # Safety
    /// `from` is readable for `N` floats.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// # Safety
    /// `to` is writable for `N` floats.
    unsafe fn store(self, to: *mut f32, v: Self::V);
    /// # Safety
    /// `from` is readable for `N` halves.
    unsafe fn load_f16(self, from: *const f16) -> Self::V;
    /// Rounds to nearest even.
    ///
    /// # Safety
    /// `to` is writable for `N` halves.
    unsafe fn store_f16(self, to: *mut f16, v: Self::V);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, fused where the instruction set can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// Into `lo ..= hi`; NaN stays.
    fn clamp(self, v: Self::V, lo: f32, hi: f32) -> Self::V;
    /// The nearest integers, for values below 2^22.
    fn round(self, v: Self::V) -> Self::V;
    /// `v * 2^n` for whole `n` in `-252 ..= 254`, overflowing to infinity and underflowing gradually.
    fn scale2(self, v: Self::V, n: Self::V) -> Self::V;
    fn sum(self, v: Self::V) -> f32;
    /// The sums of `N` vectors, in as many lanes.
    ///
    /// # Safety
    /// `from` is readable for `N * N` floats.
    unsafe fn sums(self, from: *const f32) -> Self::V;
    fn largest(self, v: Self::V) -> f32;
    /// Asks for a cache line that will be read soon; any address will do.
    #[inline(always)]
    fn prefetch(self, _line: *const f16) {}

    /// `exp(x)` to about 1 ulp.
    ///
    /// `x = n ln 2 + r`; a polynomial for `exp(r)`. The coefficients are those of the Cephes library's `expf`.
    #[inline(always)]
    fn exp(self, x: Self::V) -> Self::V {
        let c = |v| self.splat(v);
        let x = self.clamp(x, -104.0, 89.0);
        let n = self.round(self.mul(x, c(core::f32::consts::LOG2_E)));
        // ln 2 in two parts; the first has so few bits that `n` times it is exact.
        let r = self.fma(n, c(-0.693_359_4), x);
        let r = self.fma(n, c(2.121_944_4e-4), r);
        let mut p = c(1.987_569_1e-4);
        for k in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.500_000_1] {
            p = self.fma(p, r, c(k));
        }
        let p = self.fma(self.mul(p, r), r, r);
        self.scale2(self.add(p, c(1.0)), n)
    }
}

/// A computation written over any [`Simd`].
pub(crate) trait Kernel {
    type Out;
    fn run<S: Simd>(self, s: S) -> Self::Out;
}

/// Runs `kernel` with the vectors of `isa`.
#[inline]
pub(crate) fn run<K: Kernel>(isa: Isa, kernel: K) -> K::Out {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(proof) | Isa::AvxVnni(AvxVnni(proof)) => {
            #[target_feature(enable = "avx2,fma,f16c")]
            fn enter<K: Kernel>(proof: Avx2, kernel: K) -> K::Out {
                kernel.run(proof)
            }
            // SAFETY: `proof` says that the processor has these features.
            unsafe { enter(proof, kernel) }
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(proof, _) | Isa::Amx(Amx(Avx512Bf16(proof))) => {
            #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
            fn enter<K: Kernel>(proof: Avx512, kernel: K) -> K::Out {
                kernel.run(proof)
            }
            // SAFETY: `proof` says that the processor has these features.
            unsafe { enter(proof, kernel) }
        }
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        Isa::Neon(proof) | Isa::NeonDot(NeonDot(proof)) => {
            #[target_feature(enable = "neon")]
            fn enter<K: Kernel>(proof: Neon, kernel: K) -> K::Out {
                kernel.run(proof)
            }
            // SAFETY: `proof` says that the processor has this feature.
            unsafe { enter(proof, kernel) }
        }
        _ => kernel.run(Portable),
    }
}

/// Plain arrays, which the compiler turns into whatever vectors the target always has.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Portable {
    #[inline(always)]
    fn each(a: [f32; 8], b: [f32; 8], f: impl Fn(f32, f32) -> f32) -> [f32; 8] {
        core::array::from_fn(|i| f(a[i], b[i]))
    }
}

impl Simd for Portable {
    type V = [f32; 8];
    const N: usize = 8;
    const READS_F16: bool = false;

    #[inline(always)]
    fn splat(self, v: f32) -> [f32; 8] {
        [v; 8]
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> [f32; 8] {
        // SAFETY: readable by the contract of `load`.
        unsafe { from.cast::<[f32; 8]>().read() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: [f32; 8]) {
        // SAFETY: writable by the contract of `store`.
        unsafe { to.cast::<[f32; 8]>().write(v) }
    }
    #[inline(always)]
    unsafe fn load_f16(self, from: *const f16) -> [f32; 8] {
        // SAFETY: readable by the contract of `load_f16`.
        unsafe { from.cast::<[f16; 8]>().read() }.map(f16::to_f32)
    }
    #[inline(always)]
    unsafe fn store_f16(self, to: *mut f16, v: [f32; 8]) {
        // SAFETY: writable by the contract of `store_f16`.
        unsafe { to.cast::<[f16; 8]>().write(v.map(f16::from_f32)) }
    }
    #[inline(always)]
    fn add(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::each(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::each(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::each(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        self.add(self.mul(a, b), c)
    }
    #[inline(always)]
    fn max(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::each(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn clamp(self, v: [f32; 8], lo: f32, hi: f32) -> [f32; 8] {
        v.map(|v| v.clamp(lo, hi))
    }
    #[inline(always)]
    fn round(self, v: [f32; 8]) -> [f32; 8] {
        // Above 2^23 a float has no fraction bits left: adding 1.5 * 2^23 rounds to nearest even.
        const MAGIC: f32 = 12_582_912.0;
        v.map(|v| (v + MAGIC) - MAGIC)
    }
    #[inline(always)]
    fn scale2(self, v: [f32; 8], n: [f32; 8]) -> [f32; 8] {
        Self::each(v, n, |v, n| {
            let half = n as i32 >> 1;
            let pow2 = |n: i32| f32::from_bits((n + 127).cast_unsigned() << 23);
            v * pow2(half) * pow2(n as i32 - half)
        })
    }
    #[inline(always)]
    fn sum(self, v: [f32; 8]) -> f32 {
        ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]))
    }
    #[inline(always)]
    unsafe fn sums(self, from: *const f32) -> [f32; 8] {
        // SAFETY: readable by the contract of `sums`.
        core::array::from_fn(|i| self.sum(unsafe { self.load(from.add(8 * i)) }))
    }
    #[inline(always)]
    fn largest(self, v: [f32; 8]) -> f32 {
        v.into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a })
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Avx2, Avx512, Simd};
    use core::arch::x86_64::*;
    use half::f16;

    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

    /// Methods whose body is one intrinsic expression on values.
    macro_rules! values {
        ($($name:ident($($arg:ident: $t:ty),*) -> $out:ty = $body:expr;)*) => {$(
            #[inline(always)]
            fn $name(self, $($arg: $t),*) -> $out {
                // SAFETY: `self` proves that the processor has the instructions.
                unsafe { $body }
            }
        )*};
    }

    /// Methods whose body is one intrinsic expression through a pointer.
    macro_rules! pointers {
        ($($name:ident($($arg:ident: $t:ty),*) $(-> $out:ty)? = $body:expr;)*) => {$(
            #[inline(always)]
            unsafe fn $name(self, $($arg: $t),*) $(-> $out)? {
                // SAFETY: `self` proves that the processor has the instructions; the memory is the caller's proof.
                unsafe { $body }
            }
        )*};
    }

    /// # Safety
    /// `from` is readable for eight vectors.
    #[inline]
    #[target_feature(enable = "avx")]
    unsafe fn sums256(from: *const f32) -> __m256 {
        // SAFETY: readable by the contract of this function.
        let [a, b, c, d, e, f, g, h] =
            core::array::from_fn(|i| unsafe { from.add(8 * i).cast::<__m256>().read_unaligned() });
        let (a, b) = (four256([a, b, c, d]), four256([e, f, g, h]));
        _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
    }

    /// The sums of four vectors, in each half of that half.
    #[inline]
    #[target_feature(enable = "avx")]
    fn four256([a, b, c, d]: [__m256; 4]) -> __m256 {
        let a = _mm256_castps_pd(_mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)));
        let c = _mm256_castps_pd(_mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d)));
        _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(a, c)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, c)))
    }

    /// # Safety
    /// `from` is readable for sixteen vectors.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn sums512(from: *const f32) -> __m512 {
        // SAFETY: readable by the contract of this function.
        let v: [__m512; 16] =
            core::array::from_fn(|i| unsafe { from.add(16 * i).cast::<__m512>().read_unaligned() });
        let a = eight512(four512([v[0], v[1], v[2], v[3]]), four512([v[4], v[5], v[6], v[7]]));
        let b = eight512(four512([v[8], v[9], v[10], v[11]]), four512([v[12], v[13], v[14], v[15]]));
        _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xDD>(a, b))
    }

    /// The sums of four vectors, in each quarter of that quarter.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn four512([a, b, c, d]: [__m512; 4]) -> __m512 {
        let a = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
        let c = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
        _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, c)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, c)))
    }

    /// Two quarters for each of two results of [`four512`].
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn eight512(a: __m512, b: __m512) -> __m512 {
        _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xEE>(a, b))
    }

    impl Simd for Avx2 {
        type V = __m256;
        const N: usize = 8;
        const READS_F16: bool = true;

        values! {
            splat(v: f32) -> __m256 = _mm256_set1_ps(v);
            add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
            mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
            div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
            fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
            max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
            // Both return their second operand when either is NaN.
            clamp(v: __m256, lo: f32, hi: f32) -> __m256 =
                _mm256_min_ps(_mm256_set1_ps(hi), _mm256_max_ps(_mm256_set1_ps(lo), v));
            round(v: __m256) -> __m256 = _mm256_round_ps::<NEAREST>(v);
            scale2(v: __m256, n: __m256) -> __m256 = {
                let n = _mm256_cvtps_epi32(n);
                let half = _mm256_srai_epi32::<1>(n);
                let bias = _mm256_set1_epi32(127);
                let low = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(half, bias)));
                let rest = _mm256_add_epi32(_mm256_sub_epi32(n, half), bias);
                let high = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(rest));
                _mm256_mul_ps(_mm256_mul_ps(v, low), high)
            };
            sum(v: __m256) -> f32 = {
                let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
                let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
                _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
            };
            largest(v: __m256) -> f32 = {
                let v = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
                let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
                _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)))
            };
        }
        pointers! {
            load(from: *const f32) -> __m256 = _mm256_loadu_ps(from);
            store(to: *mut f32, v: __m256) = _mm256_storeu_ps(to, v);
            load_f16(from: *const f16) -> __m256 = _mm256_cvtph_ps(_mm_loadu_si128(from.cast()));
            sums(from: *const f32) -> __m256 = sums256(from);
            store_f16(to: *mut f16, v: __m256) = _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v));
        }

        #[inline(always)]
        fn prefetch(self, line: *const f16) {
            // SAFETY: a prefetch reads nothing that a program could see and never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
        }
    }

    impl Simd for Avx512 {
        type V = __m512;
        const N: usize = 16;
        const READS_F16: bool = true;

        values! {
            splat(v: f32) -> __m512 = _mm512_set1_ps(v);
            add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
            mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
            div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
            fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
            max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
            // Both return their second operand when either is NaN.
            clamp(v: __m512, lo: f32, hi: f32) -> __m512 =
                _mm512_min_ps(_mm512_set1_ps(hi), _mm512_max_ps(_mm512_set1_ps(lo), v));
            round(v: __m512) -> __m512 = _mm512_roundscale_ps::<NEAREST>(v);
            scale2(v: __m512, n: __m512) -> __m512 = _mm512_scalef_ps(v, n);
            sum(v: __m512) -> f32 = _mm512_reduce_add_ps(v);
            largest(v: __m512) -> f32 = _mm512_reduce_max_ps(v);
        }
        pointers! {
            load(from: *const f32) -> __m512 = _mm512_loadu_ps(from);
            store(to: *mut f32, v: __m512) = _mm512_storeu_ps(to, v);
            load_f16(from: *const f16) -> __m512 = _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()));
            sums(from: *const f32) -> __m512 = sums512(from);
            store_f16(to: *mut f16, v: __m512) = _mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<NEAREST>(v));
        }

        #[inline(always)]
        fn prefetch(self, line: *const f16) {
            // SAFETY: a prefetch reads nothing that a program could see and never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `exp` of each value, in place; a multiple of the widest vector.
    struct Exp<'a>(&'a mut [f32]);

    impl Kernel for Exp<'_> {
        type Out = ();

        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for v in self.0.chunks_exact_mut(S::N) {
                // SAFETY: a chunk has `N` values.
                unsafe { s.store(v.as_mut_ptr(), s.exp(s.load(v.as_ptr()))) }
            }
        }
    }

    #[test]
    fn exp_is_exact_to_two_units_in_the_last_place() {
        let inputs: alloc::vec::Vec<f32> = (0..64_000).map(|i| i as f32 * 0.003_1 - 105.0).collect();
        for isa in Isa::available() {
            let mut values = inputs.clone();
            run(isa, Exp(&mut values));
            for (x, v) in inputs.iter().zip(values) {
                let exact = libm::exp(f64::from(*x));
                let rounded = exact as f32;
                // Below the smallest normal number, one step is the smallest number there is.
                let ulp =
                    f64::from(rounded.max(f32::MIN_POSITIVE).next_up() - rounded.max(f32::MIN_POSITIVE));
                let near = v == rounded || (f64::from(v) - exact).abs() <= 2.0 * ulp;
                assert!(near, "{}: exp({x}) is {v}, not {exact}", isa.name());
            }
        }
    }

    /// Sums of vectors, in place of the first of them.
    struct Sums<'a>(&'a mut [f32; 256]);

    impl Kernel for Sums<'_> {
        type Out = usize;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> usize {
            // SAFETY: `N` is 16 at most.
            unsafe { s.store(self.0.as_mut_ptr(), s.sums(self.0.as_ptr())) }
            S::N
        }
    }

    #[test]
    fn sums_are_those_of_the_vectors_in_order() {
        // Whole numbers, so that sums are exact in any order.
        let inputs: [f32; 256] = core::array::from_fn(|i| ((i * i) % 1009) as f32);
        for isa in Isa::available() {
            let mut values = inputs;
            let n = run(isa, Sums(&mut values));
            for (i, vector) in inputs.chunks_exact(n).take(n).enumerate() {
                assert_eq!(values[i], vector.iter().sum(), "{}, vector {i}", isa.name());
            }
        }
    }

    #[test]
    fn exp_of_what_is_not_finite() {
        for isa in Isa::available() {
            let mut values = [0.0; 16];
            values[..4].copy_from_slice(&[f32::NEG_INFINITY, f32::INFINITY, f32::NAN, -1e30]);
            run(isa, Exp(&mut values));
            assert_eq!((values[0], values[1], values[3]), (0.0, f32::INFINITY, 0.0), "{}", isa.name());
            assert!(values[2].is_nan(), "{}", isa.name());
        }
    }
}
