//! `[n_out, n_in]` weights and up to four rows of activations: every row of weights is read once, from its start to its
//! end, for memory gives what is asked for in order soonest.
//!
//! One thread of a Zen 3 with busy neighbours, where a plain read got 8 to 10 GB/s, three runs in turns with four rows of
//! weights at a time cut to 768 inputs: BF16 6.2 to 7.2 then, 7.0 to 7.9 GB/s now, F16 6.2 to 7.4 then, 7.2 to 8.4 now;
//! with three rows of activations BF16 4.7 to 4.8 then, 5.4 to 7.8 now. Two or four rows of weights side by side, each
//! asked for ahead, do the same as one.

use super::Product;
use super::source::Source;
use crate::kernels::lanes::{Kernel, Lanes};
use core::marker::PhantomData;

/// Chunks of 16 weights whose sums are kept apart. The same for any number of rows, so that a value does not depend on it.
const CHUNKS: usize = 2;

/// The product, a plain format's.
pub(super) struct Stream<'a, S> {
    pub(super) product: Product<'a>,
    pub(super) source: PhantomData<S>,
}

impl<S: Source> Kernel for Stream<'_, S> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let mut p = self.product;
        for o in p.outs.clone() {
            let mut r = 0;
            while r < p.x.n_rows {
                // The weights come from memory for the first rows and from the cache for the others.
                r += match p.x.n_rows - r {
                    1 => dots::<L, S, 1>(l, &mut p, o, r),
                    3 => dots::<L, S, 3>(l, &mut p, o, r),
                    _ => dots::<L, S, 2>(l, &mut p, o, r),
                };
            }
        }
    }
}

/// Output `o` of the rows `r..r + N`. Returns `N`.
#[inline(always)]
fn dots<L: Lanes, S: Source, const N: usize>(l: L, p: &mut Product<'_>, o: usize, r: usize) -> usize {
    let n_in = p.x.n_in;
    let w = &p.w.row(o)[..n_in * S::SIZE];
    let (groups, chunks) = S::chunks(w).as_chunks::<CHUNKS>();
    let mut x: [&[[u8; 64]]; N] = [&[]; N];
    for (i, x) in x.iter_mut().enumerate() {
        // Rows of activations are padded with zeros to more than a chunk.
        *x = p.x.row(r + i).as_chunks().0;
    }
    // Two vectors to a chunk at most.
    let mut sums = [[[l.gsplat(0.0); 2]; CHUNKS]; N];
    let mut whole = [&[][..]; N];
    for (whole, x) in whole.iter_mut().zip(&x) {
        *whole = &x.as_chunks::<CHUNKS>().0[..groups.len()];
    }
    for (g, group) in groups.iter().enumerate() {
        for line in (0..CHUNKS * 16 * S::SIZE).step_by(64) {
            l.prefetch(group[0].as_ref(), L::AHEAD + line);
        }
        for (c, chunk) in group.iter().enumerate() {
            for v in 0..16 / L::LANES {
                let w = S::load(l, chunk, v);
                for (sums, x) in sums.iter_mut().zip(&whole) {
                    sums[c][v] = l.gfma(w, l.gload_f32(&x[g][c][4 * L::LANES * v..]), sums[c][v]);
                }
            }
        }
    }
    let mut done = groups.len() * CHUNKS;
    for chunk in chunks {
        add::<L, S, N>(l, chunk, &x, done, &mut sums);
        done += 1;
    }
    if done * 16 < n_in {
        add::<L, S, N>(l, &S::padded(&w[done * 16 * S::SIZE..]), &x, done, &mut sums);
    }
    for (i, sums) in sums.iter().enumerate() {
        let mut sum = l.gsplat(0.0);
        for part in sums.as_flattened() {
            sum = l.gadd(sum, *part);
        }
        p.tile[(r + i) * p.outs.len() + o - p.outs.start] = l.gsum(sum);
    }
    N
}

/// Adds the products of chunk `c` to the first sums of each row.
#[inline(always)]
fn add<L: Lanes, S: Source, const N: usize>(
    l: L,
    chunk: &S::Chunk,
    x: &[&[[u8; 64]]; N],
    c: usize,
    sums: &mut [[[L::G; 2]; CHUNKS]; N],
) {
    for v in 0..16 / L::LANES {
        let w = S::load(l, chunk, v);
        for (sums, x) in sums.iter_mut().zip(x) {
            sums[0][v] = l.gfma(w, l.gload_f32(&x[c][4 * L::LANES * v..]), sums[0][v]);
        }
    }
}
