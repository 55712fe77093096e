//! Q4_K and Q5_K, whose steps have one scale and one minimum of six bits: eight of each, which one product multiplies by
//! the factors of the activations.
//!
//! One token of a Q4_K_M file of Scout's dimensions, one thread of a Zen 3 that reads 13.8 GB/s, by a profile of each: Q4_K
//! took 60 ms of it, which is 10.2 GB/s, when scales were unpacked in general registers and widened for half steps, each slice of activations with
//! a check of its own, in 140 instructions a block; 54 ms and 11.4 GB/s in 92. Eight rows, the best of
//! three runs in turns: 62 GOP/s before, 76 now.

use super::super_blocks::{Parts, products};
use super::wide_super_blocks::{self, WideSuper};
use super::{RowDot, prefetch};
use crate::kernels::blocks::bytes_at;
use crate::kernels::lanes::{Lanes, Wide};
use crate::matmul::Q8Row;
use core::marker::PhantomData;
use puna_core::quant::{q4_k, q5_k};

/// Rows of Q4_K or Q5_K.
pub(crate) struct SixBits<B>(PhantomData<B>);

/// Each of the words 0 to 3 twice, and 4 to 7.
const TWICE: [[u8; 32]; 2] = {
    let mut twice = [[0; 32]; 2];
    let mut at = 0;
    while at < 32 {
        let word = at % 16 / 4;
        twice[0][at] = (2 * word + at % 2) as u8;
        twice[1][at] = (2 * (4 + word) + at % 2) as u8;
        at += 1;
    }
    twice
};

impl<B: WideSuper> RowDot for SixBits<B> {
    const TOGETHER: usize = 4;
    const WIDE: bool = true;

    #[inline(always)]
    fn wide_dots<W: Wide, const N: usize>(l: W, row: &[u8], x: &[Q8Row<'_>; N], n_in: usize) -> [f32; N] {
        wide_super_blocks::dots::<W, B, N>(l, row, x, n_in)
    }

    #[inline(always)]
    fn dots<L: Lanes, const N: usize>(l: L, row: &[u8], x: &[Q8Row<'_>; N], n_in: usize) -> [f32; N] {
        const { assert!(q4_k::D == 0 && q4_k::DMIN == 2 && q4_k::SCALES == 4) };
        const { assert!(q5_k::D == 0 && q5_k::DMIN == 2 && q5_k::SCALES == 4) };
        let n = n_in / 256;
        let (x, mut sums) = (Parts::all(x, n), [l.fsplat(0.0); N]);
        for (b, block) in (0..n).zip(row.chunks_exact(B::BYTES)) {
            prefetch(l, block);
            let packed = l.six_bits(bytes_at(block, 0));
            let (mut weighted, mut mins) = ([[packed; 2]; N], [packed; N]);
            for (i, x) in x.iter().enumerate() {
                let [factors, sums] = &x.steps[b];
                let both = l.mul16(packed, l.load(factors));
                let scales = l.halves_low(both, both);
                weighted[i] = [l.shuffle8(scales, l.load(&TWICE[0])), l.shuffle8(scales, l.load(&TWICE[1]))];
                // The scales meet zeros.
                mins[i] = l.mul16_pairs(both, l.load(sums));
            }
            let dots = products::<L, B, N>(l, block, &x, b, &weighted);
            let [d, dmin] = l.f16_pair(bytes_at(block, 0));
            for (i, x) in x.iter().enumerate() {
                let x_d = f32::from_ne_bytes(x.d[b]);
                sums[i] = l.ffma(l.to_f32(mins[i]), l.fsplat(dmin * x_d), sums[i]);
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
