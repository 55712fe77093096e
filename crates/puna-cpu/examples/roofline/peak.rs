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

/// The same in tiles. Nothing where there are none, or this process may not use them.
pub(crate) fn tile_burst() -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if puna_cpu::isa::Amx::new().is_some() {
        // SAFETY: the token proves that there are tiles.
        return Some(unsafe { x86::tdpbf16ps() });
    }
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{ROUNDS, black_box};
    use core::arch::asm;
    use core::arch::x86_64::*;

    #[repr(align(64))]
    struct Config([u8; 64]);

    /// Four sums of tiles in turns.
    ///
    /// # Safety
    /// The processor has tiles, and the process may use them.
    pub(super) unsafe fn tdpbf16ps() -> f64 {
        // Palette 1; from byte 16 on the bytes of a row of each of eight tiles, from byte 48 on their rows.
        let mut config = Config([0; 64]);
        config.0[0] = 1;
        for tile in 0..8 {
            (config.0[16 + 2 * tile], config.0[48 + tile]) = (64, 16);
        }
        let rounds = ROUNDS / 16;
        // SAFETY: the caller promises that there are tiles; nothing but the shapes is read.
        unsafe {
            asm!(
                "ldtilecfg [{config}]",
                "2:",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "dec {n}",
                "jnz 2b",
                "tilerelease",
                config = in(reg) &config,
                n = inout(reg) rounds => _,
                options(nostack, readonly),
            );
        }
        (4 * 16 * 16 * 64 * rounds) as f64
    }

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
