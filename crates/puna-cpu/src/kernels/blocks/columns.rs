//! How formats are unpacked: their rows become columns first, as many at a time as the widest vectors have lanes, lane `i` for
//! row `i`.
//!
//! A word holds four codes of a byte, eight nibbles, four scales or two halves, whatever the format has there; what takes a
//! row of weights apart takes a column apart. So half the words or less are moved between lanes that would be if codes were
//! unpacked first.

use super::Step;
use crate::kernels::lanes::Columns;
use crate::kernels::slab::Keep;

/// A format, all of it: `$body` keeps the steps of one block of each row, the first of which is step `$at`.
macro_rules! by_columns {
    ($name:ident, $module:ident, $steps:literal, $shape:ty, $dot:ty,
     |$l:ident, $blocks:ident, $at:ident, $keep:ident| $body:block) => {
        #[allow(non_camel_case_types, reason = "the name is that of the format")]
        pub(crate) struct $name;

        impl Block for $name {
            const BYTES: usize = $module::BYTES;
            const STEPS: usize = $steps;
            type Shape = $shape;
            type Dot = $dot;

            #[inline(always)]
            fn unpack<L: Columns>($l: L, rows: [&[u8]; ROWS], first: usize, to: &mut impl Keep) {
                const BYTES: usize = $module::BYTES;
                let n = rows[0].len() / BYTES;
                let mut all: [&[[u8; BYTES]]; ROWS] = [&[]; ROWS];
                for (all, row) in all.iter_mut().zip(rows) {
                    *all = &row.as_chunks().0[..n];
                }
                for b in 0..n {
                    let mut $blocks = [&[0; BYTES]; ROWS];
                    for (block, row) in $blocks.iter_mut().zip(all) {
                        *block = &row[b];
                    }
                    let ($at, mut $keep) = ($steps * b, To { to, first });
                    $body
                }
            }
        }
    };
}

/// Where the steps of the rows from `first` on go.
pub(super) struct To<'a, K> {
    pub(super) to: &'a mut K,
    pub(super) first: usize,
}

impl<K: Keep> To<'_, K> {
    /// Keeps a step.
    #[inline(always)]
    pub(super) fn keep<L: Columns>(
        &mut self,
        l: L,
        at: usize,
        codes: [L::T; 8],
        scale: [L::G; 2],
        min: [L::G; 2],
    ) {
        self.to.keep(l, at, self.first, Step { codes, scale, min });
    }
}

/// The 16 bytes at byte `at` of each block as four columns.
macro_rules! words {
    ($l:ident, $blocks:ident, $at:expr) => {{
        let mut at = [&[0; 16]; ROWS];
        for (at, block) in at.iter_mut().zip($blocks) {
            *at = bytes_at(block, $at);
        }
        $l.tcolumns(at)
    }};
}

/// The F16 in the low half of each word.
#[inline(always)]
pub(super) fn low_half<L: Columns>(l: L, a: L::T) -> L::G {
    l.gwords(a, false)
}
#[inline(always)]
pub(super) fn high_half<L: Columns>(l: L, a: L::T) -> L::G {
    l.gwords(a, true)
}

/// Nibbles as indices of a table.
#[inline(always)]
pub(super) fn looked_up<L: Columns>(l: L, table: &[i8; 16], mut nibbles: [L::T; 8]) -> [L::T; 8] {
    for nibble in &mut nibbles {
        *nibble = l.tlookup(bytemuck::cast_ref(table), *nibble);
    }
    nibbles
}

/// Low nibbles of words, then high ones.
#[inline(always)]
pub(super) fn nibbles<L: Columns>(l: L, words: [L::T; 4]) -> [L::T; 8] {
    let mask = l.tsplat8(15);
    let mut codes = [l.tzero(); 8];
    for (i, word) in words.into_iter().enumerate() {
        codes[i] = l.tand(word, mask);
        codes[4 + i] = l.tand(l.tdown(word, 4), mask);
    }
    codes
}

/// Codes less `zero`.
#[inline(always)]
pub(super) fn less<L: Columns>(l: L, mut codes: [L::T; 8], zero: i8) -> [L::T; 8] {
    for code in &mut codes {
        *code = l.tsub8(*code, l.tsplat8(zero));
    }
    codes
}

/// Codes of two bits: pair `i` of each byte.
#[inline(always)]
pub(super) fn two_bits<L: Columns>(l: L, bytes: [[L::T; 4]; 2], i: usize) -> [L::T; 8] {
    let mut codes = [l.tzero(); 8];
    for (code, bytes) in codes.iter_mut().zip(bytes.as_flattened()) {
        *code = l.tand(l.tdown(*bytes, 2 * i), l.tsplat8(3));
    }
    codes
}

pub(super) use {by_columns, words};
