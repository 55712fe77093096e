//! Formats of 32 values: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, MXFP4.

use super::columns::NotByColumns;
use super::{Affine, Block, Sides, Step, Symmetric, bytes_at};
use crate::kernels::dot::{Apart, Grouped, Groups};
use crate::kernels::lanes::Lanes;
use puna_core::quant::{iq4_nl, mxfp4, q4_0, q4_1, q5_0, q5_1, q8_0};

/// Codes of 4 bits: 16 in the low nibbles of 16 bytes, then 16 in the high ones.
#[inline(always)]
fn nibbles<L: Lanes>(l: L, qs: &[u8; 16]) -> L::V {
    let twice = l.load2(qs, qs);
    l.and(l.halves_low_high(twice, l.shr16(twice, 4)), l.splat8(15))
}

/// The fifth bits of codes: 16 where bit `i` of `high` is set.
#[inline(always)]
fn with_fifth<L: Lanes>(l: L, codes: L::V, high: &[u8; 4]) -> L::V {
    /// Code `i` needs byte `i / 8`, and of that bit `i % 8`.
    const BYTE: [u8; 32] = {
        let mut byte = [0; 32];
        let mut i = 0;
        while i < 32 {
            byte[i] = (i / 8) as u8;
            i += 1;
        }
        byte
    };
    const BIT: [u8; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
    let high = u32::from_le_bytes(*high);
    let bits = l.load(bytemuck::cast_ref(&[BIT; 4]));
    let bytes = l.shuffle8(l.splat32_halves(high, high), l.load(&BYTE));
    l.or(codes, l.and(l.eq8(l.and(bytes, bits), bits), l.splat8(16)))
}

/// Nibbles as indices of a table.
#[inline(always)]
fn looked_up<L: Lanes>(l: L, nibbles: L::V, table: &[i8; 16]) -> L::V {
    let table = bytemuck::cast_ref(table);
    l.shuffle8(l.load2(table, table), nibbles)
}

macro_rules! legacy {
    // Codes are `$zero` less than they are stored.
    ($name:ident, $module:ident, $shape:ty, $columns:ty, $zero:literal, |$l:ident, $block:ident| $codes:expr) => {
        #[allow(non_camel_case_types, reason = "the name is that of the format")]
        pub(crate) struct $name;

        impl Block for $name {
            const BYTES: usize = $module::BYTES;
            const STEPS: usize = 1;
            type Shape = $shape;
            type Dot = Groups<Self>;
            type Columns = $columns;

            #[inline(always)]
            fn sides<L: Lanes>(l: L, blocks: &[&[u8]; 8], _: &mut [[Step; 8]; 8], to: &mut Sides) {
                const ZERO: i8 = $zero;
                let blocks = &Apart(*blocks);
                let scales = <Self as Grouped>::scales(l, blocks);
                l.fstore(scales, &mut to.scale[0][0]);
                if let Some(mins) = <Self as Grouped>::mins(l, blocks) {
                    let mins = l.fmul(mins, l.fsplat(-1.0));
                    l.fstore(l.ffma(scales, l.fsplat(-f32::from(ZERO)), mins), &mut to.min[0][0]);
                }
            }
            #[inline(always)]
            fn step_codes<L: Lanes>($l: L, $block: &[u8], _: usize, _: &Step) -> L::V {
                $l.sub8($codes, $l.splat8($zero))
            }
        }
    };
}

legacy!(Q4_0, q4_0, Symmetric<16>, Self, 8, |l, block| nibbles(l, bytes_at(block, q4_0::QS)));
legacy!(Q4_1, q4_1, Affine, Self, 0, |l, block| nibbles(l, bytes_at(block, q4_1::QS)));
legacy!(Q5_0, q5_0, Symmetric<16>, NotByColumns, 16, |l, block| {
    with_fifth(l, nibbles(l, bytes_at(block, q5_0::QS)), bytes_at(block, q5_0::QH))
});
legacy!(Q5_1, q5_1, Affine, NotByColumns, 16, |l, block| {
    with_fifth(l, nibbles(l, bytes_at(block, q5_1::QS)), bytes_at(block, q5_1::QH))
});
legacy!(Q8_0, q8_0, Symmetric<128>, Self, 0, |l, block| l.load(bytes_at(block, q8_0::QS)));
legacy!(IQ4_NL, iq4_nl, Symmetric<128>, Self, 0, |l, block| {
    looked_up(l, nibbles(l, bytes_at(block, iq4_nl::QS)), &iq4_nl::VALUES)
});
legacy!(MXFP4, mxfp4, Symmetric<16>, NotByColumns, 0, |l, block| {
    looked_up(l, nibbles(l, bytes_at(block, mxfp4::QS)), &mxfp4::VALUES)
});
