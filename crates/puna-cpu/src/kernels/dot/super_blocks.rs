//! Formats of 256 values whose sub-blocks have integer scales: these, times the integer factors of the activations'
//! scales, are applied to sums of products, of 16 bits or with AArch64's dot products of 32, and one float product finishes
//! a block.
//!
//! Four rows meet weights unpacked once. Eight rows of Q4_K, which had kernels of this kind then, on a busy Zen 3, two at a
//! time 39 to 56 GOP/s in five runs (median 42), four at a time 40 to 61 (45). Scales stored and broadcast from memory instead of shuffled: the same for one
//! and two rows, 8 % faster for four in a loop by itself, not kept.

use super::wide_super_blocks::{self, WideSuper};
use super::{RowDot, prefetch};
use crate::kernels::blocks::{IQ4_XS, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, bytes_at, f16_at};
use crate::kernels::lanes::{Lanes, Wide};
use crate::matmul::{Plane, Q8Row};
use core::marker::PhantomData;
use puna_core::quant::{iq4_nl, iq4_xs, q2_k, q3_k, q4_k, q5_k, q6_k};

/// Rows of a format of super-blocks.
pub(crate) struct SuperBlocks<B>(PhantomData<B>);

/// What the codes of a format of 256 values are.
pub(crate) trait Codes {
    /// Bytes of a block.
    const BYTES: usize;
    /// Whether codes are signed bytes; else they are unsigned, up to 63.
    const SIGNED: bool;

    /// The codes of step `s` of eight, in order.
    fn codes<L: Lanes>(l: L, block: &[u8], s: usize) -> L::V;
}

/// A format of 256 values whose scales are those of half steps.
pub(crate) trait Super: Codes {
    /// The integer scales and minima of the sub-blocks.
    fn scales<L: Lanes>(l: L, block: &[u8]) -> Scales<L>;

    /// The float scale of the integer scales, and what the products with the minima are multiplied by.
    fn factors<L: Lanes>(l: L, block: &[u8]) -> (f32, Min);
}

/// Integer scales as 16-bit lanes.
pub(crate) struct Scales<L: Lanes> {
    /// The scales of half steps 0 to 7, in both halves of the first vector; 8 to 15 in the second.
    pub(super) of: [L::V; 2],
    /// Minima of the 16 half steps, or where codes have a zero, which [`Min::Zero`] tells, their scales.
    pub(super) mins: Option<L::V>,
}

/// The float factor of minima.
pub(crate) enum Min {
    /// That of the scales: a minimum is the scale times the code of 0, a power of two, whose logarithm this is.
    Zero(usize),
    /// One of their own.
    Own(f32),
}

impl<B: Super + WideSuper> RowDot for SuperBlocks<B> {
    const TOGETHER: usize = 4;
    const WIDE: bool = true;

    #[inline(always)]
    fn wide_dots<W: Wide, const N: usize>(l: W, row: &[u8], x: &[Q8Row<'_>; N], n_in: usize) -> [f32; N] {
        wide_super_blocks::dots::<W, B, N>(l, row, x, n_in)
    }

    #[inline(always)]
    fn dots<L: Lanes, const N: usize>(l: L, row: &[u8], x: &[Q8Row<'_>; N], n_in: usize) -> [f32; N] {
        let n = n_in / 256;
        let (x, mut sums) = (Parts::all(x, n), [l.fsplat(0.0); N]);
        for (b, block) in (0..n).zip(row.chunks_exact(B::BYTES)) {
            prefetch(l, block);
            let scales = B::scales(l, block);
            let (weighted, factors) = weighted(l, scales.of, &x, b);
            let mut dots = products::<L, B, N>(l, block, &x, b, &weighted);
            let (d, min) = B::factors(l, block);
            for (i, x) in x.iter().enumerate() {
                let x_d = f32::from_ne_bytes(x.d[b]);
                if let Some(mins) = scales.mins {
                    let mins = l.mul16_pairs(l.mul16(mins, factors[i]), l.load(&x.sums[b]));
                    match min {
                        Min::Zero(bits) => dots[i] = l.sub32(dots[i], l.shl32(mins, bits)),
                        Min::Own(d) => sums[i] = l.ffma(l.to_f32(mins), l.fsplat(-d * x_d), sums[i]),
                    }
                }
                sums[i] = l.ffma(l.to_f32(dots[i]), l.fsplat(d * x_d), sums[i]);
            }
        }
        let mut out = [0.0; N];
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = l.fsum(sum);
        }
        out
    }
}

/// What the blocks of a row of activations are multiplied as. All slices are as long, so that one check of an index does
/// for them.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) codes: &'a [[u8; 256]],
    pub(super) d: &'a [[u8; 4]],
    pub(super) factors: &'a [[u8; 32]],
    pub(super) sums: &'a [[u8; 32]],
    /// The factors and the sums of whole steps.
    pub(super) steps: &'a [[[u8; 32]; 2]],
}

impl<'a> Parts<'a> {
    /// Those of the first `n` blocks.
    #[inline(always)]
    fn new(x: &Q8Row<'a>, n: usize) -> Self {
        let Plane { codes, d, factors, sums, steps } = x.plane;
        Self {
            codes: &codes.as_chunks().0[..n],
            d: &d.as_chunks().0[..n],
            factors: &factors.as_chunks().0[..n],
            sums: &sums.as_chunks().0[..n],
            steps: &steps.as_chunks().0.as_chunks().0[..n],
        }
    }

    /// Those of the first `n` blocks of each row.
    #[inline(always)]
    pub(super) fn all<const N: usize>(x: &[Q8Row<'a>; N], n: usize) -> [Self; N] {
        let mut all = [Self::new(&x[0], n); N];
        for (parts, x) in all.iter_mut().zip(x) {
            *parts = Self::new(x, n);
        }
        all
    }
}

/// The scales of block `b` times the factors of each row, as [`Scales::of`] has them, and these factors.
#[inline(always)]
pub(super) fn weighted<L: Lanes, const N: usize>(
    l: L,
    scales: [L::V; 2],
    x: &[Parts<'_>; N],
    b: usize,
) -> ([[L::V; 2]; N], [L::V; N]) {
    let (mut weighted, mut factors) = ([scales; N], [scales[0]; N]);
    for (i, x) in x.iter().enumerate() {
        let f = l.load(&x.factors[b]);
        let of = [l.halves_low(f, f), l.halves_high(f, f)];
        weighted[i] = [l.mul16(scales[0], of[0]), l.mul16(scales[1], of[1])];
        factors[i] = f;
    }
    (weighted, factors)
}

/// The products of the codes of a block with block `b` of each row, times the scales `weighted`.
#[inline(always)]
pub(super) fn products<L: Lanes, B: Codes, const N: usize>(
    l: L,
    block: &[u8],
    x: &[Parts<'_>; N],
    b: usize,
    weighted: &[[L::V; 2]; N],
) -> [L::V; N] {
    let mut dots = [l.splat8(0); N];
    macro_rules! steps {
        ($($s:expr),*) => {$(
            let w = B::codes(l, block, $s);
            for (i, x) in x.iter().enumerate() {
                let x = l.load(bytes_at(&x.codes[b], 32 * $s));
                dots[i] = l.add_scaled(B::SIGNED, dots[i], w, x, weighted[i][$s / 4], $s % 4);
            }
        )*};
    }
    if const { L::UNROLL } {
        steps!(0, 1, 2, 3, 4, 5, 6, 7);
    } else {
        for s in 0..8 {
            steps!(s);
        }
    }
    dots
}

/// Scales that the half steps have for themselves, of codes with a zero.
#[inline(always)]
fn symmetric<L: Lanes>(l: L, scales: L::V) -> Scales<L> {
    Scales { of: [l.halves_low(scales, scales), l.halves_high(scales, scales)], mins: Some(scales) }
}

/// The 2-bit codes of step `s` in 64 bytes.
#[inline(always)]
pub(super) fn two_bits<L: Lanes>(l: L, qs: &[u8; 64], s: usize) -> L::V {
    l.and(l.shr16(l.load(bytes_at(qs, 32 * (s / 4))), 2 * (s % 4)), l.splat8(3))
}

/// The nibbles of step `s` in 128 bytes.
#[inline(always)]
fn four_bits<L: Lanes>(l: L, qs: &[u8; 128], s: usize) -> L::V {
    l.and(l.shr16(l.load(bytes_at(qs, 32 * (s / 2))), 4 * (s % 2)), l.splat8(15))
}

impl Codes for Q2_K {
    const BYTES: usize = q2_k::BYTES;
    const SIGNED: bool = false;

    #[inline(always)]
    fn codes<L: Lanes>(l: L, block: &[u8], s: usize) -> L::V {
        two_bits(l, bytes_at(block, q2_k::QS), s)
    }
}

impl Super for Q2_K {
    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8]) -> Scales<L> {
        let packed = l.widen8(bytes_at(block, q2_k::SCALES));
        let scales = l.and(packed, l.splat16(15));
        Scales {
            of: [l.halves_low(scales, scales), l.halves_high(scales, scales)],
            mins: Some(l.and(l.shr16(packed, 4), l.splat16(15))),
        }
    }
    #[inline(always)]
    fn factors<L: Lanes>(l: L, block: &[u8]) -> (f32, Min) {
        (f16_at(l, block, q2_k::D), Min::Own(f16_at(l, block, q2_k::DMIN)))
    }
}

/// Bytes up to 63, less 32.
#[inline(always)]
const fn less_32(bytes: u32) -> u32 {
    ((bytes | 0x8080_8080) - 0x2020_2020) ^ 0x8080_8080
}

impl Codes for Q3_K {
    const BYTES: usize = q3_k::BYTES;
    const SIGNED: bool = false;

    #[inline(always)]
    fn codes<L: Lanes>(l: L, block: &[u8], s: usize) -> L::V {
        let bit = l.and(l.shr16(l.load(bytes_at(block, q3_k::HMASK)), s), l.splat8(1));
        l.or(two_bits(l, bytes_at(block, q3_k::QS), s), l.shl16(bit, 2))
    }
}

impl Super for Q3_K {
    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8]) -> Scales<L> {
        let word = |i: usize| u32::from_le_bytes(*bytes_at(block, q3_k::SCALES + 4 * i));
        let (a, b, high) = (word(0), word(1), word(2));
        let low = [a, b, a >> 4, b >> 4];
        let mut scales = [0; 4];
        for (i, scale) in scales.iter_mut().enumerate() {
            *scale = less_32(low[i] & 0x0F0F_0F0F | (high >> (2 * i) & 0x0303_0303) << 4).to_le();
        }
        symmetric(l, l.widen8(bytemuck::cast_ref(&scales)))
    }
    #[inline(always)]
    fn factors<L: Lanes>(l: L, block: &[u8]) -> (f32, Min) {
        (f16_at(l, block, q3_k::D), Min::Zero(2))
    }
}

impl Codes for Q4_K {
    const BYTES: usize = q4_k::BYTES;
    const SIGNED: bool = false;

    #[inline(always)]
    fn codes<L: Lanes>(l: L, block: &[u8], s: usize) -> L::V {
        four_bits(l, bytes_at(block, q4_k::QS), s)
    }
}

impl Codes for Q5_K {
    const BYTES: usize = q5_k::BYTES;
    const SIGNED: bool = false;

    #[inline(always)]
    fn codes<L: Lanes>(l: L, block: &[u8], s: usize) -> L::V {
        let high = l.load(bytes_at(block, q5_k::QH));
        let high = if s < 4 { l.shl16(high, 4 - s) } else { l.shr16(high, s - 4) };
        l.or(four_bits(l, bytes_at(block, q5_k::QS), s), l.and(high, l.splat8(16)))
    }
}

impl Codes for Q6_K {
    const BYTES: usize = q6_k::BYTES;
    const SIGNED: bool = false;

    #[inline(always)]
    fn codes<L: Lanes>(l: L, block: &[u8], s: usize) -> L::V {
        let (half, g) = (s / 4, s % 4);
        let low = l.load(bytes_at(block, q6_k::QL + 64 * half + 32 * (g % 2)));
        let low = l.and(l.shr16(low, 4 * (g / 2)), l.splat8(15));
        let high = l.load(bytes_at(block, q6_k::QH + 32 * half));
        let high = if g < 2 { l.shl16(high, 4 - 2 * g) } else { l.shr16(high, 2 * g - 4) };
        l.or(low, l.and(high, l.splat8(0x30)))
    }
}

impl Super for Q6_K {
    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8]) -> Scales<L> {
        symmetric(l, l.widen8(bytes_at(block, q6_k::SCALES)))
    }
    #[inline(always)]
    fn factors<L: Lanes>(l: L, block: &[u8]) -> (f32, Min) {
        (f16_at(l, block, q6_k::D), Min::Zero(5))
    }
}

impl Codes for IQ4_XS {
    const BYTES: usize = iq4_xs::BYTES;
    const SIGNED: bool = true;

    #[inline(always)]
    fn codes<L: Lanes>(l: L, block: &[u8], s: usize) -> L::V {
        let qs = bytes_at(block, iq4_xs::QS + 16 * s);
        let twice = l.load2(qs, qs);
        let nibbles = l.and(l.halves_low_high(twice, l.shr16(twice, 4)), l.splat8(15));
        let table: &[u8; 16] = bytemuck::cast_ref(&iq4_nl::VALUES);
        l.shuffle8(l.load2(table, table), nibbles)
    }
}

impl Super for IQ4_XS {
    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8]) -> Scales<L> {
        // A word holds two scales, each in two bytes: one for each half of its step.
        let high = u16::from_le_bytes(*bytes_at(block, iq4_xs::SCALES_H));
        let mut twice = [0; 4];
        for (i, twice) in twice.iter_mut().enumerate() {
            let low = u32::from(block[iq4_xs::SCALES_L + i]);
            let low = (low | low << 12) & 0x000F_000F;
            let high = u32::from(high >> (4 * i) & 15);
            let high = (high | high << 14) & 0x0003_0003;
            let scales = low | high << 4;
            *twice = less_32(scales | scales << 8).to_le();
        }
        let scales = l.widen8(bytemuck::cast_ref(&twice));
        Scales { of: [l.halves_low(scales, scales), l.halves_high(scales, scales)], mins: None }
    }
    #[inline(always)]
    fn factors<L: Lanes>(l: L, block: &[u8]) -> (f32, Min) {
        (f16_at(l, block, iq4_xs::D), Min::Zero(0))
    }
}
