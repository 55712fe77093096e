//! Formats of 256 values that index codebooks: IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S.

use super::columns::NotByColumns;
use super::{Block, Shape, Sides, Step, Symmetric, SymmetricHalves, side_by_side};
use crate::kernels::dot::{Book, Books};
use crate::kernels::lanes::Lanes;
use core::hint::black_box;

macro_rules! codebook_formats {
    ($($name:ident: $shape:ty;)*) => {$(
        #[allow(non_camel_case_types, reason = "the name is that of the format")]
        pub(crate) struct $name;

        impl Block for $name {
            const BYTES: usize = <Self as Book>::BYTES;
            const STEPS: usize = 8;
            type Shape = $shape;
            type Dot = Books<Self>;
            type Columns = NotByColumns;

            #[inline(always)]
            fn sides<L: Lanes>(l: L, blocks: &[&[u8]; 8], unpacked: &mut [[Step; 8]; 8], to: &mut Sides) {
                let mut scales = [[0.0; 16]; 8];
                for ((block, steps), scales) in blocks.iter().zip(unpacked).zip(&mut scales) {
                    unpack::<L, Self>(l, block, steps, scales);
                }
                side_by_side::<L, $shape>(l, &scales, &mut to.scale);
            }
        }
    )*};
}

codebook_formats! {
    IQ1_S: Symmetric<16>;
    IQ1_M: SymmetricHalves<16>;
    IQ2_XXS: Symmetric<64>;
    IQ2_XS: SymmetricHalves<64>;
    IQ2_S: SymmetricHalves<64>;
    IQ3_XXS: Symmetric<64>;
    IQ3_S: Symmetric<16>;
}

/// Unpacks the codes of a block, and writes the scales of its steps, or of their halves where these have their own.
#[inline(always)]
fn unpack<L: Lanes, B: Book + Block>(l: L, block: &[u8], steps: &mut [Step; 8], scales: &mut [f32; 16]) {
    let open = B::open(l, block);
    // As with few rows: indices are to be loaded.
    let open = black_box(&open);
    for (s, step) in steps.iter_mut().enumerate() {
        l.store_bytes(B::codes(l, block, open, s), &mut step.codes);
    }
    let mut integers = [0; 8];
    l.store(B::scales(l, block), &mut integers);
    let integers: [i16; 16] = bytemuck::cast(integers);
    let factor = B::factor(l, block);
    let every = if B::Shape::HALVES { 1 } else { 2 };
    for (scale, integer) in scales.iter_mut().zip(integers.iter().step_by(every)) {
        *scale = factor * f32::from(*integer);
    }
}
