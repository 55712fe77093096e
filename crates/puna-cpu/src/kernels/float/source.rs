//! Rows of weights read as floats.

use crate::kernels::lanes::Lanes;

/// A weight format that can be read as floats.
pub(crate) trait Source {
    /// Bytes of a value.
    const SIZE: usize;
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
