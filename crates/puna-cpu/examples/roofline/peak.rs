//! What the multiply units of a processor can do: loops of nothing but multiply-adds on registers.
//!
//! A burst lasts a few milliseconds and returns the operations it did, two to a multiply-add.

use std::hint::black_box;

const ROUNDS: usize = 1_000_000;

/// F32 multiply-adds with the widest vectors.
pub(crate) fn float_burst() -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature was just detected.
            return unsafe { x86::fma512() };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the features were just detected.
            return unsafe { x86::fma() };
        }
    }
    let (a, b) = (black_box(0.5), black_box(0.25));
    let mut sums = [0.0f32; 64];
    for _ in 0..ROUNDS {
        sums.iter_mut().for_each(|sum| *sum = *sum * a + b);
    }
    black_box(sums);
    (128 * ROUNDS) as f64
}

/// Products of bytes, summed to 32 bits, with the widest vectors. Nothing where there are no instructions for them.
pub(crate) fn byte_burst() -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512vnni") {
            // SAFETY: the feature was just detected.
            return Some(unsafe { x86::vpdpbusd() });
        }
        if is_x86_feature_detected!("avxvnni") {
            // SAFETY: the feature was just detected.
            return Some(unsafe { x86::vpdpbusd_256() });
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the feature was just detected.
            return Some(unsafe { x86::maddubs() });
        }
    }
    None
}

/// Products of BF16 pairs, summed to F32. Nothing where there are no instructions for them.
pub(crate) fn bf16_burst() -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512f") {
            // SAFETY: the features were just detected.
            return Some(unsafe { x86::dpbf16() });
        }
    }
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{ROUNDS, black_box};
    use core::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn fma() -> f64 {
        let (a, b) = (black_box(_mm256_set1_ps(0.5)), black_box(_mm256_set1_ps(0.25)));
        let mut sums = [_mm256_setzero_ps(); 12];
        for _ in 0..ROUNDS {
            sums.iter_mut().for_each(|sum| *sum = _mm256_fmadd_ps(*sum, a, b));
        }
        black_box(sums);
        (12 * 16 * ROUNDS) as f64
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn fma512() -> f64 {
        let (a, b) = (black_box(_mm512_set1_ps(0.5)), black_box(_mm512_set1_ps(0.25)));
        let mut sums = [_mm512_setzero_ps(); 16];
        for _ in 0..ROUNDS {
            sums.iter_mut().for_each(|sum| *sum = _mm512_fmadd_ps(*sum, a, b));
        }
        black_box(sums);
        (16 * 32 * ROUNDS) as f64
    }

    #[target_feature(enable = "avx2,avxvnni")]
    pub(super) fn vpdpbusd_256() -> f64 {
        let (a, b) = (black_box(_mm256_set1_epi8(3)), black_box(_mm256_set1_epi8(5)));
        let mut sums = [_mm256_setzero_si256(); 12];
        for _ in 0..ROUNDS {
            sums.iter_mut().for_each(|sum| *sum = _mm256_dpbusd_avx_epi32(*sum, a, b));
        }
        black_box(sums);
        (12 * 64 * ROUNDS) as f64
    }

    /// Chains of `maddubs`, `madd` and add.
    #[target_feature(enable = "avx2")]
    pub(super) fn maddubs() -> f64 {
        let (b, one) = (black_box(_mm256_set1_epi8(5)), _mm256_set1_epi16(1));
        let mut sums = [black_box(_mm256_set1_epi8(3)); 12];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                // The sum itself is multiplied, or the product would be taken out of the loop.
                let product = _mm256_madd_epi16(_mm256_maddubs_epi16(*sum, b), one);
                *sum = _mm256_add_epi32(*sum, product);
            }
        }
        black_box(sums);
        (12 * 64 * ROUNDS) as f64
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn dpbf16() -> f64 {
        let one = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5), _mm512_set1_ps(0.25));
        let (a, b) = (black_box(one), black_box(one));
        let mut sums = [_mm512_setzero_ps(); 16];
        for _ in 0..ROUNDS {
            sums.iter_mut().for_each(|sum| *sum = _mm512_dpbf16_ps(*sum, a, b));
        }
        black_box(sums);
        (16 * 64 * ROUNDS) as f64
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn vpdpbusd() -> f64 {
        let (a, b) = (black_box(_mm512_set1_epi8(3)), black_box(_mm512_set1_epi8(5)));
        let mut sums = [_mm512_setzero_si512(); 16];
        for _ in 0..ROUNDS {
            sums.iter_mut().for_each(|sum| *sum = _mm512_dpbusd_epi32(*sum, a, b));
        }
        black_box(sums);
        (16 * 128 * ROUNDS) as f64
    }
}
