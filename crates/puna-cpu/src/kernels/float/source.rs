//! Rows of weights read as floats.

use crate::kernels::blocks::{Block, Step};
use crate::kernels::lanes::Lanes;
use core::marker::PhantomData;

/// A weight format that can be read as floats.
pub(crate) trait Source {
    /// Bytes of a value, or 0 where values are not stored one by one.
    const SIZE: usize;
    /// What reads the values where they are, if they are stored one by one.
    type Direct: Source;

    /// The bytes of 16 values of a plain format.
    type Chunk: AsRef<[u8]>;

    /// The whole chunks of a row of a plain format.
    fn chunks(row: &[u8]) -> &[Self::Chunk];

    /// A chunk that begins with `rest`, then zeros.
    fn padded(rest: &[u8]) -> Self::Chunk;

    /// Vector `i` of a chunk.
    fn load<L: Lanes>(l: L, chunk: &Self::Chunk, i: usize) -> L::G;

    /// Values `at..at + to.len()` of a row; `at` and, except at the end of a row, the length are multiples of 256.
    fn expand<L: Lanes>(l: L, row: &[u8], at: usize, to: &mut [f32]);
}

macro_rules! plain {
    ($name:ident, $size:literal, $load:ident) => {
        pub(crate) struct $name;

        impl Source for $name {
            const SIZE: usize = $size;
            type Direct = Self;

            type Chunk = [u8; 16 * $size];

            #[inline(always)]
            fn chunks(row: &[u8]) -> &[Self::Chunk] {
                row.as_chunks().0
            }

            #[inline(always)]
            fn padded(rest: &[u8]) -> Self::Chunk {
                let mut chunk = [0; 16 * $size];
                chunk[..rest.len()].copy_from_slice(rest);
                chunk
            }

            #[inline(always)]
            fn load<L: Lanes>(l: L, chunk: &Self::Chunk, i: usize) -> L::G {
                l.$load(&chunk[i * L::LANES * $size..])
            }

            #[inline(always)]
            fn expand<L: Lanes>(l: L, row: &[u8], at: usize, to: &mut [f32]) {
                let row = &row[at * $size..(at + to.len()) * $size];
                let (chunks, rest) = row.as_chunks();
                let (to, to_rest) = to.as_chunks_mut();
                for (to, chunk) in to.iter_mut().zip(chunks) {
                    expand_chunk::<L, Self>(l, chunk, to);
                }
                let mut last = [0.0; 16];
                expand_chunk::<L, Self>(l, &Self::padded(rest), &mut last);
                to_rest.copy_from_slice(&last[..to_rest.len()]);
            }
        }
    };
}

plain!(F32, 4, gload_f32);
plain!(F16, 2, gload_f16);
plain!(BF16, 2, gload_bf16);
plain!(F8E4M3, 1, gload_f8);

#[inline(always)]
fn expand_chunk<L: Lanes, S: Source>(l: L, chunk: &S::Chunk, to: &mut [f32; 16]) {
    for (i, to) in to.chunks_exact_mut(L::LANES).enumerate() {
        l.gstore(S::load(l, chunk, i), to);
    }
}

/// A block format.
pub(crate) struct Blocks<B>(PhantomData<B>);

impl<B: Block> Source for Blocks<B> {
    const SIZE: usize = 0;
    // Never used, but of a type that has kernels already.
    type Direct = F32;
    type Chunk = [u8; 0];

    // Blocks are expanded before they are used: no row of theirs has chunks.
    fn chunks(_: &[u8]) -> &[[u8; 0]] {
        &[]
    }
    fn padded(_: &[u8]) -> [u8; 0] {
        []
    }
    #[inline(always)]
    fn load<L: Lanes>(l: L, _: &[u8; 0], _: usize) -> L::G {
        l.gsplat(f32::NAN)
    }

    #[inline(always)]
    fn expand<L: Lanes>(l: L, row: &[u8], at: usize, to: &mut [f32]) {
        let values = 32 * B::STEPS;
        let blocks = row[at / values * B::BYTES..].chunks_exact(B::BYTES);
        let mut steps = [Step::ZERO; 8];
        for (block, to) in blocks.zip(to.chunks_exact_mut(values)) {
            B::unpack(l, block, &mut steps);
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
