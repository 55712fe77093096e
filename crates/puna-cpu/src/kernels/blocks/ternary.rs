//! Formats of 256 values of -1, 0 and 1 under one scale: TQ1_0 and TQ2_0.

use super::by_rows::{ByRows, Rows, by_rows};
use super::columns::{To, by_columns, high_half, less, two_bits, words};
use super::{Block, Symmetric, bytes_at, f16_at};
use crate::kernels::dot::{Codes, SuperBlocks};
use crate::kernels::lanes::columns::ROWS;
use crate::kernels::lanes::{Columns, Lanes};
use crate::kernels::slab::Keep;
use puna_core::quant::{tq1_0, tq2_0};

by_columns!(TQ2_0, tq2_0, 8, Symmetric<16>, SuperBlocks<Self>, |l, blocks, at, keep| {
    // The scale is the last half of the last 16 bytes.
    let d = high_half(l, words!(l, blocks, tq2_0::D + 2 - 16)[3]);
    for half in 0..2 {
        let qs = [words!(l, blocks, tq2_0::QS + 32 * half), words!(l, blocks, tq2_0::QS + 32 * half + 16)];
        for i in 0..4 {
            keep.keep(l, at + 4 * half + i, less(l, two_bits(l, qs, i), 1), [d; 2], [d; 2]);
        }
    }
});

by_rows!(TQ1_0, tq1_0::BYTES, Symmetric<16>, SuperBlocks<Self>);

impl ByRows for TQ1_0 {
    #[inline(always)]
    fn unpack_row<L: Lanes>(l: L, block: &[u8], row: usize, to: &mut Rows) {
        for (s, steps) in to.codes.iter_mut().enumerate() {
            let codes = l.sub8(<Self as Codes>::codes(l, block, s), l.splat8(1));
            l.store_bytes(codes, &mut steps[row]);
        }
        l.store_bytes(l.splat16(1), &mut to.scales[row]);
        to.factors[row] = f16_at(l, block, tq1_0::D);
    }
}
