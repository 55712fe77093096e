//! Formats of 256 values with 64-byte vectors: four of them hold the codes of a block in their order, so that a quarter is
//! half a step, which has one scale.
//!
//! Sums of four products fit in 16 bits, so two vectors of them are narrowed to one, and the instruction that multiplies
//! them by the scales adds all up.

use super::prefetch;
use super::super_blocks::{Codes, Parts};
use crate::kernels::blocks::{IQ4_XS, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, TQ1_0, TQ2_0, bytes_at};
use crate::kernels::lanes::Wide;
use crate::matmul::Q8Row;
use puna_core::quant::{iq4_nl, iq4_xs, q2_k, q3_k, q4_k, q5_k, q6_k, tq1_0, tq2_0};

/// A format of 256 values with 64-byte vectors.
pub(crate) trait WideSuper: Codes {
    /// The codes of steps `2 * I` and `2 * I + 1`.
    fn wide_codes<W: Wide, const I: usize>(l: W, block: &[u8]) -> W::T;

    /// As 16-bit lanes, the integer scales of the 16 half steps, and in the other half where there are minima of their
    /// own, these.
    fn wide_scales<W: Wide>(l: W, block: &[u8]) -> W::T;

    /// The float factors.
    fn wide_factors<W: Wide>(l: W, block: &[u8]) -> Factors<W>;
}

/// Half steps to the lanes of narrowed sums of two vectors.
const NARROWED: [[u16; 32]; 2] = {
    let mut index = [[0; 32]; 2];
    let mut i = 0;
    while i < 2 * 32 {
        let (quarter, vector) = (i % 32 / 8, 2 * (i / 32) + i % 8 / 4);
        index[i / 32][i % 32] = (4 * vector + quarter) as u16;
        i += 1;
    }
    index
};

/// Half steps to the lanes of sums of two products.
const PAIRS: [[u16; 32]; 4] = {
    let mut index = [[0; 32]; 4];
    let mut i = 0;
    while i < 4 * 32 {
        index[i / 32][i % 32] = (i / 8) as u16;
        i += 1;
    }
    index
};

/// The float scale of the integer scales in all lanes, and what the products with the minima are multiplied by.
pub(crate) enum Factors<W: Wide> {
    /// There are none.
    None(W::G),
    /// A minimum is the scale times the code of 0, a power of two, whose logarithm this is.
    Zero(W::G, usize),
    /// A factor of their own.
    Own([W::G; 2]),
}

/// [`RowDot::wide_dots`](super::RowDot::wide_dots).
#[inline(always)]
pub(super) fn dots<W: Wide, B: WideSuper, const N: usize>(
    l: W,
    row: &[u8],
    x: &[Q8Row<'_>; N],
    n_in: usize,
) -> [f32; N] {
    let n = n_in / 256;
    let (parts, mut sums) = (Parts::all(x, n), [l.gsplat(0.0); N]);
    for (b, block) in (0..n).zip(row.chunks_exact(B::BYTES)) {
        prefetch(l, block);
        let scales = B::wide_scales(l, block);
        let w = [
            B::wide_codes::<W, 0>(l, block),
            B::wide_codes::<W, 1>(l, block),
            B::wide_codes::<W, 2>(l, block),
            B::wide_codes::<W, 3>(l, block),
        ];
        let factors = B::wide_factors(l, block);
        for (x, sum) in parts.iter().zip(&mut sums) {
            let x_d = l.gsplat(f32::from_ne_bytes(x.d[b]));
            let weighted = l.tmul16(scales, l.ttwice(&x.factors[b]));
            let mut dot = l.tzero();
            if B::SIGNED {
                for (i, w) in w.iter().enumerate() {
                    let pairs = l.tmul8_pairs_signed(*w, l.tbytes(bytes_at(&x.codes[b], 64 * i)));
                    dot = l.tadd32(dot, l.tmul16_sums(pairs, l.tpick16(weighted, &PAIRS[i])));
                }
            } else {
                for i in 0..2 {
                    let x: &[u8; 128] = bytes_at(&x.codes[b], 128 * i);
                    let first = l.tdot8(l.tzero(), w[2 * i], l.tbytes(bytes_at(x, 0)));
                    let last = l.tdot8(l.tzero(), w[2 * i + 1], l.tbytes(bytes_at(x, 64)));
                    let sums = l.tpack16(first, last);
                    dot = l.tadd32(dot, l.tmul16_sums(sums, l.tpick16(weighted, &NARROWED[i])));
                }
            }
            let (x_sums, zero) = (l.load(&x.sums[b]), l.splat8(0));
            let d = match factors {
                Factors::None(d) => d,
                Factors::Zero(d, bits) => {
                    dot = l
                        .tsub32(dot, l.thalves(l.shl32(l.mul16_pairs(l.tlow(weighted), x_sums), bits), zero));
                    d
                }
                Factors::Own([d, dmin]) => {
                    let mins = l.to_g(l.thalves(l.mul16_pairs(l.thigh(weighted), x_sums), zero));
                    *sum = l.gfnma(mins, l.gmul(dmin, x_d), *sum);
                    d
                }
            };
            *sum = l.gfma(l.to_g(dot), l.gmul(d, x_d), *sum);
        }
    }
    let mut out = [0.0; N];
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = l.gsum(sum);
    }
    out
}

/// Where bits of two steps are in 16-bit lanes: up by so many, or down.
enum Move {
    Up(u16, u16),
    Down(u16, u16),
}

/// What `mask` leaves of 32 bytes when they are moved as two steps need them.
#[inline(always)]
fn moved<W: Wide>(l: W, bytes: &[u8; 32], to: Move, mask: i8) -> W::T {
    let twice = l.ttwice(bytes);
    let moved = match to {
        Move::Up(a, b) => l.tshl16(twice, [a, a, b, b]),
        Move::Down(a, b) => l.tshr16(twice, [a, a, b, b]),
    };
    l.tand(moved, l.tsplat8(mask))
}

/// 2-bit codes in 64 bytes.
#[inline(always)]
fn two_bits<W: Wide, const I: usize>(l: W, qs: &[u8; 64]) -> W::T {
    let down = const { 4 * (I % 2) as u16 };
    moved(l, bytes_at(qs, 32 * (I / 2)), Move::Down(down, down + 2), 3)
}

/// The 4-bit codes of Q4_K and Q5_K in 128 bytes.
#[inline(always)]
fn four_bits<W: Wide, const I: usize>(l: W, qs: &[u8; 128]) -> W::T {
    moved(l, bytes_at(qs, 32 * I), Move::Down(0, 4), 15)
}

/// Four times eight 16-bit lanes.
#[inline(always)]
fn quarters<W: Wide>(l: W, [a, b, c, d]: [u16; 4]) -> W::T {
    l.tbytes(bytemuck::cast_ref(&[[a; 8], [b; 8], [c; 8], [d; 8]]))
}

/// Lanes `first` to `first + 4`, each for the two halves of a step, in each quarter.
const fn twice([a, b, c, d]: [u16; 4]) -> [u16; 32] {
    let first = [a, b, c, d];
    let mut index = [0; 32];
    let mut i = 0;
    while i < 32 {
        index[i] = first[i / 8] + (i % 8 / 2) as u16;
        i += 1;
    }
    index
}

/// The scales and minima of Q4_K and Q5_K, which bytes 4 to 16 of the block hold.
#[inline(always)]
fn six_bit_scales<W: Wide>(l: W, block: &[u8]) -> W::T {
    let bytes = widened(l, block, q4_k::SCALES);
    // Of scales 0 to 4, 4 to 8, and the minima.
    let low = l.tshr16(l.tpick16(bytes, const { &twice([0, 8, 4, 8]) }), [0, 0, 0, 4]);
    let high = l.tshr16(l.tpick16(bytes, const { &twice([0, 0, 0, 4]) }), [2; 4]);
    l.tor(l.tand(low, quarters(l, [0x3F, 0x0F, 0x3F, 0x0F])), l.tand(high, quarters(l, [0, 0x30, 0, 0x30])))
}

/// 16 bytes as 16-bit lanes, zeros above them.
#[inline(always)]
fn widened<W: Wide>(l: W, block: &[u8], at: usize) -> W::T {
    l.thalves(l.widen8(bytes_at(block, at)), l.splat8(0))
}

/// Scales of six bits less 32: the low ones below, and two bits each of `high` times powers that bring them to bits 6 and 7.
#[inline(always)]
fn less_32<W: Wide>(l: W, low: W::T, high: W::T) -> W::T {
    let high = l.tand(l.tshr16(high, [2; 4]), quarters(l, [0x30; 4]));
    l.tsub16(l.tor(l.tand(low, quarters(l, [0x0F; 4])), high), quarters(l, [32; 4]))
}

impl WideSuper for Q2_K {
    #[inline(always)]
    fn wide_codes<W: Wide, const I: usize>(l: W, block: &[u8]) -> W::T {
        two_bits::<W, I>(l, bytes_at(block, q2_k::QS))
    }
    #[inline(always)]
    fn wide_scales<W: Wide>(l: W, block: &[u8]) -> W::T {
        let packed = l.widen8(bytes_at(block, q2_k::SCALES));
        l.tand(l.tshr16(l.thalves(packed, packed), [0, 0, 4, 4]), quarters(l, [15; 4]))
    }
    #[inline(always)]
    fn wide_factors<W: Wide>(l: W, block: &[u8]) -> Factors<W> {
        Factors::Own(l.gpair(bytes_at(block, q2_k::D)))
    }
}

impl WideSuper for Q3_K {
    #[inline(always)]
    fn wide_codes<W: Wide, const I: usize>(l: W, block: &[u8]) -> W::T {
        let to = match I {
            0 => Move::Up(2, 1),
            1 => Move::Down(0, 1),
            2 => Move::Down(2, 3),
            _ => Move::Down(4, 5),
        };
        let high = moved(l, bytes_at(block, q3_k::HMASK), to, 4);
        l.tor(two_bits::<W, I>(l, bytes_at(block, q3_k::QS)), high)
    }
    #[inline(always)]
    fn wide_scales<W: Wide>(l: W, block: &[u8]) -> W::T {
        /// Bytes 0 to 8, then the same again for their upper nibbles; bytes 8 to 12 four times.
        const LANES: [[u16; 32]; 2] = {
            let mut lanes = [[0; 32]; 2];
            let mut i = 0;
            while i < 16 {
                (lanes[0][i], lanes[1][i]) = ((4 + i % 8) as u16, (12 + i % 4) as u16);
                i += 1;
            }
            lanes
        };
        /// Bits 2 * (i / 4) of lane `i`.
        const POWERS: [u16; 32] = {
            let mut powers = [0; 32];
            let mut i = 0;
            while i < 16 {
                powers[i] = 64 >> (2 * (i / 4));
                i += 1;
            }
            powers
        };
        // What follows the twelve bytes is the last field of a block, so they are the end of sixteen.
        let bytes = widened(l, block, q3_k::SCALES - 4);
        let low = l.tshr16(l.tpick16(bytes, &LANES[0]), [0, 4, 0, 4]);
        let high = l.tmul16(l.tpick16(bytes, &LANES[1]), l.tbytes(bytemuck::cast_ref(&POWERS)));
        less_32(l, low, high)
    }
    #[inline(always)]
    fn wide_factors<W: Wide>(l: W, block: &[u8]) -> Factors<W> {
        Factors::Zero(l.ghalf(bytes_at(block, q3_k::D)), 2)
    }
}

impl WideSuper for Q4_K {
    #[inline(always)]
    fn wide_codes<W: Wide, const I: usize>(l: W, block: &[u8]) -> W::T {
        four_bits::<W, I>(l, bytes_at(block, q4_k::QS))
    }
    #[inline(always)]
    fn wide_scales<W: Wide>(l: W, block: &[u8]) -> W::T {
        six_bit_scales(l, block)
    }
    #[inline(always)]
    fn wide_factors<W: Wide>(l: W, block: &[u8]) -> Factors<W> {
        Factors::Own(l.gpair(bytes_at(block, q4_k::D)))
    }
}

impl WideSuper for Q5_K {
    #[inline(always)]
    fn wide_codes<W: Wide, const I: usize>(l: W, block: &[u8]) -> W::T {
        let to = match I {
            0 => Move::Up(4, 3),
            1 => Move::Up(2, 1),
            2 => Move::Down(0, 1),
            _ => Move::Down(2, 3),
        };
        let high = moved(l, bytes_at(block, q5_k::QH), to, 16);
        l.tor(four_bits::<W, I>(l, bytes_at(block, q5_k::QS)), high)
    }
    #[inline(always)]
    fn wide_scales<W: Wide>(l: W, block: &[u8]) -> W::T {
        const { assert!(q4_k::SCALES == q5_k::SCALES) };
        six_bit_scales(l, block)
    }
    #[inline(always)]
    fn wide_factors<W: Wide>(l: W, block: &[u8]) -> Factors<W> {
        Factors::Own(l.gpair(bytes_at(block, q5_k::D)))
    }
}

impl WideSuper for Q6_K {
    #[inline(always)]
    fn wide_codes<W: Wide, const I: usize>(l: W, block: &[u8]) -> W::T {
        let low = l.tshr16(l.tbytes(bytes_at(block, q6_k::QL + 64 * (I / 2))), [4 * (I % 2) as u16; 4]);
        let to = if I.is_multiple_of(2) { Move::Up(4, 2) } else { Move::Down(0, 2) };
        let high = moved(l, bytes_at(block, q6_k::QH + 32 * (I / 2)), to, 0x30);
        l.tor(l.tand(low, l.tsplat8(15)), high)
    }
    #[inline(always)]
    fn wide_scales<W: Wide>(l: W, block: &[u8]) -> W::T {
        widened(l, block, q6_k::SCALES)
    }
    #[inline(always)]
    fn wide_factors<W: Wide>(l: W, block: &[u8]) -> Factors<W> {
        Factors::Zero(l.ghalf(bytes_at(block, q6_k::D)), 5)
    }
}

impl WideSuper for IQ4_XS {
    #[inline(always)]
    fn wide_codes<W: Wide, const I: usize>(l: W, block: &[u8]) -> W::T {
        let table = bytemuck::cast_ref(&iq4_nl::VALUES);
        let qs = |at: usize| bytes_at(block, iq4_xs::QS + 32 * I + at);
        let nibbles = l.tshr16(l.tjoin4([qs(0), qs(0), qs(16), qs(16)]), [0, 4, 0, 4]);
        l.tshuffle8(l.tjoin4([table; 4]), l.tand(nibbles, l.tsplat8(15)))
    }
    #[inline(always)]
    fn wide_scales<W: Wide>(l: W, block: &[u8]) -> W::T {
        /// A byte for two low halves, and one for four high ones, for each half step.
        const LANES: [[u16; 32]; 2] = {
            let mut lanes = [[0; 32]; 2];
            let mut i = 0;
            while i < 16 {
                lanes[0][i] = (iq4_xs::SCALES_L + i / 4) as u16;
                lanes[1][i] = (iq4_xs::SCALES_H + i / 8) as u16;
                i += 1;
            }
            lanes
        };
        /// They bring low halves to the upper four bits, and bits 2 * (s % 4) of step `s` to bits 6 and 7.
        const POWERS: [[u16; 32]; 2] = {
            let mut powers = [[0; 32]; 2];
            let mut i = 0;
            while i < 16 {
                powers[0][i] = 16 >> (4 * (i / 2 % 2));
                powers[1][i] = 64 >> (2 * (i / 2 % 4));
                i += 1;
            }
            powers
        };
        let bytes = widened(l, block, 0);
        let part = |i: usize| l.tmul16(l.tpick16(bytes, &LANES[i]), l.tbytes(bytemuck::cast_ref(&POWERS[i])));
        less_32(l, l.tshr16(part(0), [4; 4]), part(1))
    }
    #[inline(always)]
    fn wide_factors<W: Wide>(l: W, block: &[u8]) -> Factors<W> {
        Factors::None(l.ghalf(bytes_at(block, iq4_xs::D)))
    }
}

/// Every step has the scale of the block.
#[inline(always)]
fn ones<W: Wide>(l: W) -> W::T {
    quarters(l, [1; 4])
}

impl WideSuper for TQ2_0 {
    #[inline(always)]
    fn wide_codes<W: Wide, const I: usize>(l: W, block: &[u8]) -> W::T {
        two_bits::<W, I>(l, bytes_at(block, tq2_0::QS))
    }
    #[inline(always)]
    fn wide_scales<W: Wide>(l: W, _: &[u8]) -> W::T {
        ones(l)
    }
    #[inline(always)]
    fn wide_factors<W: Wide>(l: W, block: &[u8]) -> Factors<W> {
        Factors::Zero(l.ghalf(bytes_at(block, tq2_0::D)), 0)
    }
}

impl WideSuper for TQ1_0 {
    #[inline(always)]
    fn wide_codes<W: Wide, const I: usize>(l: W, block: &[u8]) -> W::T {
        l.thalves(Self::codes(l, block, 2 * I), Self::codes(l, block, 2 * I + 1))
    }
    #[inline(always)]
    fn wide_scales<W: Wide>(l: W, _: &[u8]) -> W::T {
        ones(l)
    }
    #[inline(always)]
    fn wide_factors<W: Wide>(l: W, block: &[u8]) -> Factors<W> {
        Factors::Zero(l.ghalf(bytes_at(block, tq1_0::D)), 0)
    }
}
