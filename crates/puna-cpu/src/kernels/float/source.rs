//! Rows of weights read as floats.

use crate::kernels::blocks::{Block, Step};
use crate::kernels::lanes::Lanes;
use core::marker::PhantomData;

/// A weight format that can be read as floats.
pub(crate) trait Source {
    /// Bytes of a value, or 0 where values are not stored one by one.
    const SIZE: usize;

    /// `LANES` values of a plain format from the first bytes of `from`.
    fn load<L: Lanes>(l: L, from: &[u8]) -> L::G;

    /// Values `at..at + to.len()` of a row; `at` and, except at the end of a row, the length are multiples of 256.
    fn expand<L: Lanes>(l: L, row: &[u8], at: usize, to: &mut [f32]);
}

macro_rules! plain {
    ($name:ident, $size:literal, $load:ident) => {
        pub(crate) struct $name;

        impl Source for $name {
            const SIZE: usize = $size;

            #[inline(always)]
            fn load<L: Lanes>(l: L, from: &[u8]) -> L::G {
                l.$load(from)
            }

            #[inline(always)]
            fn expand<L: Lanes>(l: L, row: &[u8], at: usize, to: &mut [f32]) {
                let row = &row[at * $size..(at + to.len()) * $size];
                let whole = to.len() - to.len() % L::LANES;
                for i in (0..whole).step_by(L::LANES) {
                    l.gstore(Self::load(l, &row[i * $size..]), &mut to[i..]);
                }
                let mut values = [0.0; 16];
                l.gstore(Self::load(l, &padded(&row[whole * $size..])), &mut values);
                let rest = &mut to[whole..];
                rest.copy_from_slice(&values[..rest.len()]);
            }
        }
    };
}

plain!(F32, 4, gload_f32);
plain!(F16, 2, gload_f16);
plain!(BF16, 2, gload_bf16);
plain!(F8E4M3, 1, gload_f8);

/// The bytes of fewer values than a vector holds, and zeros.
#[inline(always)]
pub(super) fn padded(rest: &[u8]) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[..rest.len()].copy_from_slice(rest);
    bytes
}

/// A block format.
pub(crate) struct Blocks<B>(PhantomData<B>);

impl<B: Block> Source for Blocks<B> {
    const SIZE: usize = 0;

    #[inline(always)]
    fn load<L: Lanes>(l: L, _: &[u8]) -> L::G {
        l.gsplat(f32::NAN)
    }

    #[inline(always)]
    fn expand<L: Lanes>(_: L, row: &[u8], at: usize, to: &mut [f32]) {
        let values = 32 * B::STEPS;
        let blocks = row[at / values * B::BYTES..].chunks_exact(B::BYTES);
        let mut steps = [Step::ZERO; 8];
        for (block, to) in blocks.zip(to.chunks_exact_mut(values)) {
            B::unpack(block, &mut steps);
            for (step, to) in steps.iter().zip(to.as_chunks_mut::<32>().0) {
                for (half, to) in to.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                    for (to, code) in to.iter_mut().zip(&step.codes.as_chunks::<16>().0[half]) {
                        *to = f32::from(*code) * step.scale[half] - step.min[half];
                    }
                }
            }
        }
    }
}
