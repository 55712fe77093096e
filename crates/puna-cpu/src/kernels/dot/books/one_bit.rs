//! The codebook of -1, 0 and 1, eight times which are shifted by 1 up or down: IQ1_S and IQ1_M.
//!
//! Bytes are `8 * level + 10`. Where the shift is down, IQ1_M, which has a shift for every eight values, takes 2 from them; in
//! IQ1_S, where it is that of a step, 11 stands for 0 and not 9.

use super::{Book, Indices, Padded, Z, each, lanes_of, odd, powers, shifted, twice, widened};
use crate::kernels::blocks::{IQ1_M, IQ1_S, bytes_at, f16_at};
use crate::kernels::lanes::Lanes;
use puna_core::quant::{codebook, iq1_m, iq1_s};

/// `8 * level + 10`.
static BOOK: Padded<8, 2050> = Padded::new(&{
    let mut book = [[0; 8]; 2048];
    let mut i = 0;
    while i < 8 * 2048 {
        book[i / 8][i % 8] = 8 * codebook::IQ1[i / 8][i % 8] + 10;
        i += 1;
    }
    book
});

/// The u16 that hold the scale and the shift of each step, for both its halves.
#[inline(always)]
fn heads<L: Lanes>(l: L, block: &[u8]) -> L::V {
    const TWICE: [u8; 32] = {
        let mut bytes = [[0; 2]; 16];
        let mut i = 0;
        while i < 16 {
            bytes[i] = [(i / 2 * 2) as u8, (i / 2 * 2 + 1) as u8];
            i += 1;
        }
        lanes_of(bytes)
    };
    l.shuffle8(twice(l, block, iq1_s::QH), l.load(&TWICE))
}

impl Book for IQ1_S {
    const BYTES: usize = iq1_s::BYTES;
    type Open<L: Lanes> = Indices<2048>;

    #[inline(always)]
    fn open<L: Lanes>(l: L, block: &[u8]) -> Indices<2048> {
        /// For each index the u16 of its step, but the upper byte alone for the last of four, whose bits would have to move
        /// down.
        const HEADS: [[u8; 32]; 2] = {
            let mut heads = [[[0, Z]; 16]; 2];
            let mut i = 0;
            while i < 32 {
                let at = (i / 4 * 2) as u8;
                heads[i / 16][i % 16] = if i % 4 == 3 { [at + 1, Z] } else { [at, at + 1] };
                i += 1;
            }
            [lanes_of(heads[0]), lanes_of(heads[1])]
        };
        let mut indices = Indices::new();
        for (k, heads) in HEADS.iter().enumerate() {
            let high = shifted(l, twice(l, block, iq1_s::QH), heads, const { &powers([8, 5, 2, 7]) });
            let high = l.and(high, l.splat16(0x700));
            indices.put(l, k, l.or(widened(l, block, iq1_s::QS + 16 * k), high));
        }
        indices
    }
    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8]) -> L::V {
        odd(l, heads(l, block), 12, 7)
    }
    #[inline(always)]
    fn factor<L: Lanes>(l: L, block: &[u8]) -> f32 {
        f16_at(l, block, iq1_s::D) * 0.125
    }
    #[inline(always)]
    fn sizes<L: Lanes>(l: L, _: &[u8], open: &Indices<2048>, s: usize) -> (L::V, Option<L::V>) {
        (BOOK.four(l, open.step(s)), None)
    }
    #[inline(always)]
    fn zeros<L: Lanes>(l: L, block: &[u8]) -> Option<L::V> {
        Some(l.or(l.and(l.shr16(heads(l, block), 14), l.splat16(2)), l.splat16(9)))
    }
    #[inline(always)]
    fn codes<L: Lanes>(l: L, block: &[u8], open: &Indices<2048>, s: usize) -> L::V {
        let down = block[iq1_s::QH + 2 * s + 1] >> 7 == 1;
        l.sub8(BOOK.four(l, open.step(s)), l.splat8(if down { 11 } else { 9 }))
    }
}

/// Indices with the shifts above them.
#[derive(Clone, Copy)]
pub(crate) struct Shifted<L: Lanes> {
    indices: Indices<2048>,
    /// A lane for each index, of steps 0 and 1 in both halves, then 2 and 3 and so on. Bit 11 is set where the shift is down.
    down: [L::V; 4],
}

impl Book for IQ1_M {
    const BYTES: usize = iq1_m::BYTES;
    type Open<L: Lanes> = Shifted<L>;

    #[inline(always)]
    fn open<L: Lanes>(l: L, block: &[u8]) -> Shifted<L> {
        let high = twice(l, block, iq1_m::QH);
        let mut open = Shifted { indices: Indices::new(), down: [high; 4] };
        for (k, nibbles) in const { [each(0, 2), each(8, 2)] }.iter().enumerate() {
            let high = l.and(shifted(l, high, nibbles, const { &powers([8, 4]) }), l.splat16(0xF00));
            open.indices.put(l, k, l.or(widened(l, block, iq1_m::QS + 16 * k), high));
            open.down[2 * k] = l.halves_low(high, high);
            open.down[2 * k + 1] = l.halves_high(high, high);
        }
        open
    }
    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[u8]) -> L::V {
        /// Four of each u16, which are the last of 16 bytes.
        const FOUR: [u8; 32] = {
            let mut bytes = [[0; 2]; 16];
            let mut i = 0;
            while i < 16 {
                bytes[i] = [(8 + i / 4 * 2) as u8, (8 + i / 4 * 2 + 1) as u8];
                i += 1;
            }
            lanes_of(bytes)
        };
        let packed = twice(l, block, iq1_m::SCALES - 8);
        odd(l, shifted(l, packed, &FOUR, const { &powers([9, 6, 3, 0]) }), 9, 7)
    }
    #[inline(always)]
    fn factor<L: Lanes>(l: L, block: &[u8]) -> f32 {
        let packed = |i: usize| u16::from_le_bytes(*bytes_at(block, iq1_m::SCALES + 2 * i));
        l.f16((0..4).fold(0, |bits, i| bits | (packed(i) >> 12) << (4 * i))) * 0.125
    }
    #[inline(always)]
    fn sizes<L: Lanes>(l: L, _: &[u8], open: &Shifted<L>, s: usize) -> (L::V, Option<L::V>) {
        /// Byte `i` needs the upper byte of lane `i / 8` of its step.
        const UPPER: [[u8; 32]; 2] = {
            let mut upper = [[0; 32]; 2];
            let mut i = 0;
            while i < 2 * 32 {
                upper[i / 32][i % 32] = (8 * (i / 32) + i % 32 / 8 * 2 + 1) as u8;
                i += 1;
            }
            upper
        };
        let upper = l.shuffle8(open.down[s / 2], l.load(&UPPER[s % 2]));
        let down = l.and(l.shr16(upper, 2), l.splat8(2));
        (l.sub8(BOOK.four(l, open.indices.step(s)), down), None)
    }
    #[inline(always)]
    fn zeros<L: Lanes>(l: L, _: &[u8]) -> Option<L::V> {
        Some(l.splat16(9))
    }
    #[inline(always)]
    fn codes<L: Lanes>(l: L, block: &[u8], open: &Shifted<L>, s: usize) -> L::V {
        let (sizes, _) = Self::sizes(l, block, open, s);
        l.sub8(sizes, l.splat8(9))
    }
}
