//! Formats whose rows are unpacked one by one, in blocks of 256 values, before they become columns.

use super::columns::To;
use super::{Block, Shape};
use crate::kernels::lanes::columns::ROWS;
use crate::kernels::lanes::{Columns, Lanes};
use crate::kernels::slab::Keep;

/// A block of each row.
pub(super) struct Rows {
    /// Of each step, those of each row.
    pub(super) codes: [[[i8; 32]; ROWS]; 8],
    /// Of each row, the integer scales of its 16 half steps, from 0 to 127, as 16-bit lanes.
    pub(super) scales: [[i8; 32]; ROWS],
    /// What they are multiplied by.
    pub(super) factors: [f32; ROWS],
}

/// How a row is unpacked.
pub(super) trait ByRows {
    /// Unpacks a block of row `row`.
    fn unpack_row<L: Lanes>(l: L, block: &[u8], row: usize, to: &mut Rows);
}

/// As [`Block::unpack`].
#[inline(always)]
pub(super) fn unpack<L: Columns, B: Block + ByRows>(
    l: L,
    rows: [&[u8]; ROWS],
    first: usize,
    to: &mut impl Keep,
) {
    let mut unpacked = Rows { codes: [[[0; 32]; ROWS]; 8], scales: [[0; 32]; ROWS], factors: [0.0; ROWS] };
    let mut to = To { to, first };
    for b in 0..rows[0].len() / B::BYTES {
        for (i, row) in rows.iter().enumerate().take(L::LANES) {
            B::unpack_row(l, &row[b * B::BYTES..(b + 1) * B::BYTES], i, &mut unpacked);
        }
        let (factor, scales) = (l.gload(&unpacked.factors), words(l, &unpacked.scales));
        for (s, (codes, scales)) in unpacked.codes.iter().zip(scales).enumerate() {
            let mut scale = [factor; 2];
            for (half, scale) in scale.iter_mut().enumerate().take(if B::Shape::HALVES { 2 } else { 1 }) {
                *scale = l.gmul(factor, l.to_g(l.tbyte(scales, 2 * half)));
            }
            to.keep(l, 8 * b + s, words(l, codes), scale, scale);
        }
    }
}

/// The 32 bytes of each row as columns.
#[inline(always)]
fn words<L: Columns>(l: L, rows: &[[i8; 32]; ROWS]) -> [L::T; 8] {
    let mut at = [[&[0; 16]; ROWS]; 2];
    for (i, row) in rows.iter().enumerate() {
        let [low, high]: &[[u8; 16]; 2] = bytemuck::cast_ref(row);
        (at[0][i], at[1][i]) = (low, high);
    }
    let mut words = [l.tzero(); 8];
    for (words, at) in words.as_chunks_mut().0.iter_mut().zip(at) {
        *words = l.tcolumns(at);
    }
    words
}

/// A format that is unpacked so.
macro_rules! by_rows {
    ($name:ident, $bytes:expr, $shape:ty, $dot:ty) => {
        #[allow(non_camel_case_types, reason = "the name is that of the format")]
        pub(crate) struct $name;

        impl Block for $name {
            const BYTES: usize = $bytes;
            const STEPS: usize = 8;
            type Shape = $shape;
            type Dot = $dot;

            #[inline(always)]
            fn unpack<L: Columns>(l: L, rows: [&[u8]; ROWS], first: usize, to: &mut impl Keep) {
                super::by_rows::unpack::<L, Self>(l, rows, first, to);
            }
        }
    };
}
pub(super) use by_rows;
