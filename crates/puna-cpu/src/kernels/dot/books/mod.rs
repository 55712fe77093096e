//! Formats of 256 values that index codebooks: IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S.
//!
//! Entries are looked up one by one, which bounds these kernels. All else, the upper bits of indices, signs and scales, is
//! done in vectors, for a whole block where it can be. Upper bits come to their place by a multiplication with a power of
//! two for each lane: AVX2 does not shift 16-bit lanes by different amounts.
//!
//! Decode on one thread of a Zen 3, GB/s of weights by `roofline`, medians of three runs in turns with what unpacked value by
//! value before, when a plain read took 9 to 10: IQ1_S 0.7 and 2.3, IQ1_M 0.6 and 2.0, IQ2_XXS 0.5 and 2.1, IQ2_XS 0.3 and
//! 2.9, IQ2_S 0.5 and 2.5, IQ3_XXS 1.3 and 2.7, IQ3_S 1.5 and 2.7. In a loop by itself entries that were inserted one by one
//! took 3.2 ns a step for IQ2_XS in place of 2.9, for IQ3_S 4.7 as now. Eight rows are faster when weights are unpacked first.

mod one_bit;
mod signed;

use super::super_blocks::{Parts, weighted};
use super::{RowDot, prefetch};
use crate::kernels::blocks::bytes_at;
use crate::kernels::lanes::Lanes;
use crate::matmul::Q8Row;
use core::hint::black_box;
use core::marker::PhantomData;

/// Rows of a format that indexes a codebook.
pub(crate) struct Books<B>(PhantomData<B>);

/// A format that indexes a codebook.
pub(crate) trait Book {
    /// Bytes of a block.
    const BYTES: usize;
    /// What is made of a block before its steps.
    type Open<L: Lanes>: Copy;

    /// Prepares a block.
    fn open<L: Lanes>(l: L, block: &[u8]) -> Self::Open<L>;

    /// The integer scales of the 16 half steps, odd numbers up to 31.
    fn scales<L: Lanes>(l: L, block: &[u8]) -> L::V;

    /// What the integer scales are multiplied by.
    fn factor<L: Lanes>(l: L, block: &[u8]) -> f32;

    /// Unsigned bytes of step `s`, up to 62, and where there are signs, bytes of ones for those to be negated.
    fn sizes<L: Lanes>(l: L, block: &[u8], open: &Self::Open<L>, s: usize) -> (L::V, Option<L::V>);

    /// Where there are no signs: the bytes that stand for 0 in the 16 half steps, as 16-bit lanes.
    fn zeros<L: Lanes>(_: L, _block: &[u8]) -> Option<L::V> {
        None
    }

    /// The signed codes of step `s`.
    fn codes<L: Lanes>(l: L, block: &[u8], open: &Self::Open<L>, s: usize) -> L::V;
}

impl<B: Book> RowDot for Books<B> {
    const TOGETHER: usize = 4;

    #[inline(always)]
    fn dots<L: Lanes, const N: usize>(l: L, row: &[u8], x: &[Q8Row<'_>; N], n_in: usize) -> [f32; N] {
        let n = n_in / 256;
        let (x, mut sums) = (Parts::all(x, n), [l.fsplat(0.0); N]);
        let x = &x;
        for (b, block) in (0..n).zip(row.chunks_exact(B::BYTES)) {
            prefetch(l, block);
            let open = B::open(l, block);
            // Else the compiler takes indices out of vectors, which is slower than to store them and to load each.
            let open = black_box(&open);
            let scales = B::scales(l, block);
            let of = [l.halves_low(scales, scales), l.halves_high(scales, scales)];
            let (weighted, factors) = weighted(l, of, x, b);
            let mut dots = [l.splat8(0); N];
            for half in 0..2 {
                let weighted = weighted.map(|weighted| weighted[half]);
                let mut step = Step::<L, B, N> { block, open, half, weighted, x, b, dots: &mut dots };
                step.add::<0>(l);
                step.add::<1>(l);
                step.add::<2>(l);
                step.add::<3>(l);
            }
            let d = B::factor(l, block);
            let zeros = B::zeros(l, block).map(|zeros| l.mul16(zeros, scales));
            for (i, x) in x.iter().enumerate() {
                if let Some(zeros) = zeros {
                    let zeros = l.mul16_pairs(l.mul16(zeros, factors[i]), l.load(&x.sums[b]));
                    dots[i] = l.sub32(dots[i], zeros);
                }
                let x_d = f32::from_ne_bytes(x.d[b]);
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

/// Half of the steps of a block. Each is a call of its own, because the compiler would not unroll a loop over them.
struct Step<'a, L: Lanes, B: Book, const N: usize> {
    block: &'a [u8],
    open: &'a B::Open<L>,
    half: usize,
    /// Integer scales of these steps, in both halves.
    weighted: [L::V; N],
    x: &'a [Parts<'a>; N],
    /// Which block of the row it is.
    b: usize,
    dots: &'a mut [L::V; N],
}

impl<L: Lanes, B: Book, const N: usize> Step<'_, L, B, N> {
    /// Adds the products of step `S` of four.
    #[inline(always)]
    fn add<const S: usize>(&mut self, l: L) {
        let s = 4 * self.half + S;
        let (sizes, minus) = B::sizes(l, self.block, self.open, s);
        for (i, x) in self.x.iter().enumerate() {
            let x = l.load(bytes_at(&x.codes[self.b], 32 * s));
            let x = minus.map_or(x, |minus| l.negate8(x, minus));
            self.dots[i] = l.add_scaled(false, self.dots[i], sizes, x, self.weighted[i], S);
        }
    }
}

/// The indices of a block into a codebook of `N` entries, where they are more than bytes.
#[derive(Clone, Copy)]
#[repr(align(8))]
pub(crate) struct Indices<const N: usize>([u32; 32]);

impl<const N: usize> Indices<N> {
    #[inline(always)]
    fn new() -> Self {
        Self([0; 32])
    }

    /// Makes the 16-bit lanes indices `16 * k` and following. What of them is too large is taken away.
    #[inline(always)]
    fn put<L: Lanes>(&mut self, l: L, k: usize, lanes: L::V) {
        const { assert!(N.is_power_of_two() && N <= 1 << 15) };
        l.store(l.and(lanes, l.splat16(N as i16 - 1)), &mut self.0[8 * k..8 * k + 8]);
    }

    /// The `C` indices of step `s`.
    #[inline(always)]
    fn step<const C: usize>(&self, s: usize) -> [Index<N>; C] {
        let words: &[u64; 16] = bytemuck::cast_ref(&self.0);
        let mut step = [Index(0); C];
        for (four, word) in step.chunks_exact_mut(4).zip(&words[C / 4 * s..C / 4 * (s + 1)]) {
            for (i, to) in four.iter_mut().enumerate() {
                *to = Index((word >> (16 * i)) as usize & 0xFFFF);
            }
        }
        step
    }
}

/// Less than `N`: of [`Indices`], which are zeros or were masked, or a byte where `N` is 256.
#[derive(Clone, Copy)]
struct Index<const N: usize>(usize);

impl Index<256> {
    /// Indices that are bytes.
    #[inline(always)]
    fn of_bytes<const C: usize>(bytes: &[u8; C]) -> [Self; C] {
        let mut indices = [Index(0); C];
        for (index, byte) in indices.iter_mut().zip(bytes) {
            *index = Index(usize::from(*byte));
        }
        indices
    }
}

/// A codebook of `M` less twice [`PAD`](Self::PAD) entries of `L` values, with as many zeros before and behind it: an entry
/// can be loaded to any place of 16 bytes, which is all that a blend takes to put it beside others. To insert entries one by
/// one takes twice as many instructions.
struct Padded<const L: usize, const M: usize>([[i8; L]; M]);

impl<const L: usize, const M: usize> Padded<L, M> {
    const PAD: usize = 16 / L - 1;

    const fn new<const N: usize>(book: &[[i8; L]; N]) -> Self {
        assert!(M == N + 2 * Self::PAD);
        let mut padded = [[0; L]; M];
        let mut i = 0;
        while i < N {
            padded[Self::PAD + i] = book[i];
            i += 1;
        }
        Self(padded)
    }

    /// 16 bytes with the entry at place `at`.
    #[inline(always)]
    fn window<const N: usize>(&self, index: Index<N>, at: usize) -> &[i8; 16] {
        const { assert!(M == N + 2 * Self::PAD) };
        let first = index.0 + Self::PAD - at % (Self::PAD + 1);
        // SAFETY: an index is less than `N`, so that `first` is at most `N - 1 + PAD`, and the `PAD + 1` entries from there
        // on are within `M`; they are 16 bytes.
        unsafe { &*self.0.as_ptr().add(first).cast() }
    }
}

impl<const M: usize> Padded<8, M> {
    /// Four entries, one after the other.
    #[inline(always)]
    fn four<L: Lanes, const N: usize>(&self, l: L, [a, b, c, d]: [Index<N>; 4]) -> L::V {
        l.join4([self.window(a, 0), self.window(b, 1), self.window(c, 0), self.window(d, 1)])
    }
}

impl<const M: usize> Padded<4, M> {
    /// Eight entries, one after the other.
    #[inline(always)]
    fn eight<L: Lanes, const N: usize>(&self, l: L, indices: [Index<N>; 8]) -> L::V {
        let mut windows = [self.window(indices[0], 0); 8];
        for (i, (window, index)) in windows.iter_mut().zip(indices).enumerate() {
            *window = self.window(index, i);
        }
        l.join8(windows)
    }
}

/// What a shuffle makes 0.
const Z: u8 = 0x80;

/// A shuffle that makes of two bytes each 16-bit lane.
const fn lanes_of(bytes: [[u8; 2]; 16]) -> [u8; 32] {
    let mut shuffle = [0; 32];
    let mut i = 0;
    while i < 16 {
        (shuffle[2 * i], shuffle[2 * i + 1]) = (bytes[i][0], bytes[i][1]);
        i += 1;
    }
    shuffle
}

/// The shuffle that makes lane `i` of byte `first + i / lanes`.
const fn each(first: usize, lanes: usize) -> [u8; 32] {
    let mut bytes = [[0, Z]; 16];
    let mut i = 0;
    while i < 16 {
        bytes[i][0] = (first + i / lanes) as u8;
        i += 1;
    }
    lanes_of(bytes)
}

/// Powers of two for 16 lanes, again and again.
const fn powers<const P: usize>(exponents: [u32; P]) -> [u16; 16] {
    let mut powers = [0; 16];
    let mut i = 0;
    while i < 16 {
        powers[i] = 1 << exponents[i % P];
        i += 1;
    }
    powers
}

/// Both halves are these bytes.
#[inline(always)]
fn twice<L: Lanes>(l: L, block: &[u8], at: usize) -> L::V {
    let bytes = bytes_at(block, at);
    l.load2(bytes, bytes)
}

/// Lanes of the bytes that `shuffle` picks, times `powers`.
#[inline(always)]
fn shifted<L: Lanes>(l: L, bytes: L::V, shuffle: &[u8; 32], powers: &[u16; 16]) -> L::V {
    l.mul16(l.shuffle8(bytes, l.load(shuffle)), l.load(bytemuck::cast_ref(powers)))
}

/// 16 bytes as lanes.
#[inline(always)]
fn widened<L: Lanes>(l: L, block: &[u8], at: usize) -> L::V {
    l.shuffle8(twice(l, block, at), l.load(const { &each(0, 1) }))
}

/// `2 * scale + 1` for scales in the bits from `from` on, at least the second; `most` is the largest.
#[inline(always)]
fn odd<L: Lanes>(l: L, lanes: L::V, from: usize, most: i16) -> L::V {
    l.or(l.and(l.shr16(lanes, from - 1), l.splat16(2 * most)), l.splat16(1))
}
