//! Codebooks of magnitudes, with signs beside the indices: IQ2 and IQ3.

use super::{Book, Index, Indices, Padded, Z, each, odd, powers, shifted, twice, widened};
use crate::kernels::blocks::{IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS, bytes_at, f16_at};
use crate::kernels::lanes::Lanes;
use puna_core::quant::{codebook, iq2_s, iq2_xs, iq2_xxs, iq3_s, iq3_xxs};

static BOOK_2_XXS: Padded<8, 258> = Padded::new(&codebook::IQ2_XXS);
static BOOK_2_XS: Padded<8, 514> = Padded::new(&codebook::IQ2_XS);
static BOOK_2_S: Padded<8, 1026> = Padded::new(&codebook::IQ2_S);
static BOOK_3_XXS: Padded<4, 262> = Padded::new(&codebook::IQ3_XXS);
static BOOK_3_S: Padded<4, 518> = Padded::new(&codebook::IQ3_S);

/// A block with its signs and indices.
#[derive(Clone, Copy)]
pub(crate) struct Signed<L: Lanes, const N: usize> {
    /// Signs of steps 0 to 3 in each half, a word each, and of the others.
    signs: [L::V; 2],
    indices: Indices<N>,
}

impl<L: Lanes, const N: usize> Signed<L, N> {
    /// `signs` has a word for each step.
    #[inline(always)]
    fn new(l: L, signs: L::V) -> Self {
        let signs = [l.halves_low(signs, signs), l.halves_high(signs, signs)];
        Self { signs, indices: Indices::new() }
    }

    /// Bytes of ones where values of step `s` are negative.
    #[inline(always)]
    fn minus(&self, l: L, s: usize) -> L::V {
        /// In each half: byte `i` needs the sign byte of its value, `i / 8` of step `s % 4`.
        const SPREAD: [[u8; 32]; 4] = {
            let mut spread = [[0; 32]; 4];
            let mut i = 0;
            while i < 4 * 32 {
                spread[i / 32][i % 32] = (4 * (i / 32) + i % 32 / 8) as u8;
                i += 1;
            }
            spread
        };
        const BITS: [u8; 32] = {
            let mut bits = [0; 32];
            let mut i = 0;
            while i < 32 {
                bits[i] = 1 << (i % 8);
                i += 1;
            }
            bits
        };
        let bits = l.load(&BITS);
        let signs = l.shuffle8(self.signs[s / 4], l.load(&SPREAD[s % 4]));
        l.eq8(l.and(signs, bits), bits)
    }
}

/// Sets the top bit of bytes up to 127 so that the number of bits that are set is even, as
/// [`even_signs`](codebook::even_signs) does.
#[inline(always)]
fn even<L: Lanes>(l: L, bits: L::V) -> L::V {
    /// The top bit where a nibble has an odd number of bits.
    const ODD: [u8; 16] = {
        let mut odd = [0; 16];
        let mut i = 0;
        while i < 16 {
            odd[i] = ((i.count_ones() % 2) << 7) as u8;
            i += 1;
        }
        odd
    };
    let (table, low) = (l.load2(&ODD, &ODD), l.splat8(15));
    let [a, b] = [bits, l.shr16(bits, 4)].map(|nibbles| l.shuffle8(table, l.and(nibbles, low)));
    // Taking the top bit from a byte without it sets it, and twice leaves it.
    l.sub8(l.sub8(bits, a), b)
}

/// Signs in words that hold four times seven bits, the lowest first, and a scale on top.
#[inline(always)]
fn tail_signs<L: Lanes>(l: L, tails: L::V) -> L::V {
    let byte = |i: usize| {
        let mask = 0x7F << (8 * i);
        l.and(l.shl32(tails, i), l.splat32_halves(mask, mask))
    };
    even(l, l.or(l.or(byte(0), byte(1)), l.or(byte(2), byte(3))))
}

/// Scales on top of such words.
#[inline(always)]
fn tail_scales<L: Lanes>(l: L, tails: L::V) -> L::V {
    const TOPS: [u8; 32] = {
        let mut tops = [Z; 32];
        let mut i = 0;
        while i < 16 {
            tops[2 * i] = (i % 8 / 2 * 4 + 3) as u8;
            i += 1;
        }
        tops
    };
    odd(l, l.shuffle8(tails, l.load(&TOPS)), 4, 15)
}

/// The scales of IQ2_XS and IQ2_S: nibbles in the last eight bytes of the 16 from `at` on.
#[inline(always)]
fn nibble_scales<L: Lanes>(l: L, block: &[u8], at: usize) -> L::V {
    let nibbles = shifted(l, twice(l, block, at), const { &each(8, 2) }, const { &powers([4, 0]) });
    odd(l, nibbles, 4, 15)
}

/// A book of which a value has a sign of its own.
macro_rules! signed_book {
    (
        $name:ident, $module:ident, $entries:literal, $factor:literal,
        open: |$l:ident, $block:ident| $open:expr,
        scales: |$scales_l:ident, $scales_block:ident| $scales:expr,
        sizes: |$sizes_l:ident, $sizes_block:ident, $opened:ident, $s:ident| $sizes:expr,
    ) => {
        impl Book for $name {
            const BYTES: usize = $module::BYTES;
            type Open<L: Lanes> = Signed<L, $entries>;

            #[inline(always)]
            fn open<L: Lanes>($l: L, $block: &[u8]) -> Signed<L, $entries> {
                $open
            }
            #[inline(always)]
            fn scales<L: Lanes>($scales_l: L, $scales_block: &[u8]) -> L::V {
                $scales
            }
            #[inline(always)]
            fn factor<L: Lanes>(l: L, block: &[u8]) -> f32 {
                f16_at(l, block, $module::D) * $factor
            }
            #[inline(always)]
            fn sizes<L: Lanes>(
                $sizes_l: L,
                $sizes_block: &[u8],
                $opened: &Signed<L, $entries>,
                $s: usize,
            ) -> (L::V, Option<L::V>) {
                ($sizes, Some($opened.minus($sizes_l, $s)))
            }
            #[inline(always)]
            fn codes<L: Lanes>(l: L, block: &[u8], open: &Signed<L, $entries>, s: usize) -> L::V {
                let (sizes, _) = Self::sizes(l, block, open, s);
                l.negate8(sizes, open.minus(l, s))
            }
        }
    };
}

/// The words that hold signs and scales, each after a word of indices.
#[inline(always)]
fn iq2_xxs_tails<L: Lanes>(l: L, block: &[u8]) -> L::V {
    let groups = |i: usize| l.load(bytes_at(block, iq2_xxs::GROUPS + 32 * i));
    let (a, b) = (groups(0), groups(1));
    let (a, b) = (l.halves_low(a, b), l.halves_high(a, b));
    // Of each half 0, 2, 1, 3, then in order.
    let mixed = l.zip64_high(l.zip32_low(a, b), l.zip32_high(a, b));
    const ORDER: [u8; 16] = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15];
    l.shuffle8(mixed, l.load2(&ORDER, &ORDER))
}

signed_book! {
    IQ2_XXS, iq2_xxs, 256, 0.125,
    open: |l, block| Signed::new(l, tail_signs(l, iq2_xxs_tails(l, block))),
    scales: |l, block| tail_scales(l, iq2_xxs_tails(l, block)),
    sizes: |l, block, _open, s| {
        let group: &[u8; 4] = bytes_at(block, iq2_xxs::GROUPS + 8 * s);
        BOOK_2_XXS.four(l, Index::of_bytes(group))
    },
}

signed_book! {
    IQ3_XXS, iq3_xxs, 256, 0.25,
    open: |l, block| Signed::new(l, tail_signs(l, l.load(bytes_at(block, iq3_xxs::TAILS)))),
    scales: |l, block| tail_scales(l, l.load(bytes_at(block, iq3_xxs::TAILS))),
    sizes: |l, block, _open, s| {
        let group: &[u8; 8] = bytes_at(block, iq3_xxs::QS + 8 * s);
        BOOK_3_XXS.eight(l, Index::of_bytes(group))
    },
}

signed_book! {
    IQ2_XS, iq2_xs, 512, 0.125,
    open: |l, block| {
        // Even bytes of each half, which hold the seven signs once they are shifted down.
        const EVEN: [u8; 16] = [0, 2, 4, 6, 8, 10, 12, 14, Z, Z, Z, Z, Z, Z, Z, Z];
        let signs = |at: usize| {
            let steps = |at: usize| bytes_at(block, iq2_xs::QS + at);
            l.shuffle8(l.shr16(l.load2(steps(at), steps(32 + at)), 9), l.load2(&EVEN, &EVEN))
        };
        let mut open = Signed::new(l, even(l, l.zip64_low(signs(0), signs(16))));
        for k in 0..2 {
            open.indices.put(l, k, l.load(bytes_at(block, iq2_xs::QS + 32 * k)));
        }
        open
    },
    scales: |l, block| nibble_scales(l, block, iq2_xs::SCALES - 8),
    sizes: |l, _block, open, s| BOOK_2_XS.four(l, open.indices.step(s)),
}

signed_book! {
    IQ2_S, iq2_s, 1024, 0.125,
    open: |l, block| {
        let mut open = Signed::new(l, l.load(bytes_at(block, iq2_s::SIGNS)));
        let high = twice(l, block, iq2_s::QH);
        for (k, four) in const { [each(0, 4), each(4, 4)] }.iter().enumerate() {
            let high = l.and(shifted(l, high, four, const { &powers([8, 6, 4, 2]) }), l.splat16(0x300));
            open.indices.put(l, k, l.or(widened(l, block, iq2_s::QS + 16 * k), high));
        }
        open
    },
    scales: |l, block| nibble_scales(l, block, iq2_s::SCALES - 8),
    sizes: |l, _block, open, s| BOOK_2_S.four(l, open.indices.step(s)),
}

signed_book! {
    IQ3_S, iq3_s, 512, 1.0,
    open: |l, block| {
        let mut open = Signed::new(l, l.load(bytes_at(block, iq3_s::SIGNS)));
        let high = twice(l, block, iq3_s::QH);
        for (k, eight) in const { [each(0, 8), each(2, 8), each(4, 8), each(6, 8)] }.iter().enumerate() {
            let powers = const { &powers([8, 7, 6, 5, 4, 3, 2, 1]) };
            let high = l.and(shifted(l, high, eight, powers), l.splat16(0x100));
            open.indices.put(l, k, l.or(widened(l, block, iq3_s::QS + 16 * k), high));
        }
        open
    },
    scales: |l, block| {
        // The last four of these bytes.
        let nibbles = twice(l, block, iq3_s::SCALES - 12);
        odd(l, shifted(l, nibbles, const { &each(12, 4) }, const { &powers([4, 4, 0, 0]) }), 4, 15)
    },
    sizes: |l, _block, open, s| BOOK_3_S.eight(l, open.indices.step(s)),
}
