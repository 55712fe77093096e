//! Formats of 256 values that index codebooks: IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S.

use super::by_rows::{ByRows, Rows, by_rows};
use super::{Block, Symmetric, SymmetricHalves};
use crate::kernels::dot::{Book, Books};
use crate::kernels::lanes::columns::ROWS;
use crate::kernels::lanes::{Columns, Lanes};
use crate::kernels::slab::Keep;
use core::hint::black_box;

by_rows!(IQ1_S, <Self as Book>::BYTES, Symmetric<16>, Books<Self>);
by_rows!(IQ1_M, <Self as Book>::BYTES, SymmetricHalves<16>, Books<Self>);
by_rows!(IQ2_XXS, <Self as Book>::BYTES, Symmetric<64>, Books<Self>);
by_rows!(IQ2_XS, <Self as Book>::BYTES, SymmetricHalves<64>, Books<Self>);
by_rows!(IQ2_S, <Self as Book>::BYTES, SymmetricHalves<64>, Books<Self>);
by_rows!(IQ3_XXS, <Self as Book>::BYTES, Symmetric<64>, Books<Self>);
by_rows!(IQ3_S, <Self as Book>::BYTES, Symmetric<16>, Books<Self>);

impl<B: Book> ByRows for B {
    #[inline(always)]
    fn unpack_row<L: Lanes>(l: L, block: &[u8], row: usize, to: &mut Rows) {
        let open = B::open(l, block);
        // As with few rows: indices are to be loaded.
        let open = black_box(&open);
        for (s, steps) in to.codes.iter_mut().enumerate() {
            l.store_bytes(B::codes(l, block, open, s), &mut steps[row]);
        }
        l.store_bytes(B::scales(l, block), &mut to.scales[row]);
        to.factors[row] = B::factor(l, block);
    }
}
