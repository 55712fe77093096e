//! Few rows: every row of weights is read once, from its start to its end.

use super::{Kernel, Pairs, Product, Sums};
use crate::kernels::lanes::{Lanes, Wide};

/// Up to this many rows, weights are multiplied as they come: beyond, to make columns of them takes less time than to read
/// every activation for every output, by a count of instructions; not timed.
pub(super) const ROWS: usize = 8;
/// Chunks of 32 weights whose sums are kept apart, the same for any number of rows, so that a value does not depend on it.
const CHUNKS: usize = 4;

/// The product of up to [`ROWS`] rows.
pub(super) struct Few<'a>(pub(super) Product<'a>);

impl Kernel for Few<'_> {
    #[inline(always)]
    fn run<P: Pairs>(mut self, p: P) {
        for o in self.0.outs.clone() {
            let mut r = 0;
            while r < self.0.x.n_rows {
                // The weights come from memory for the first rows and from the cache for the others. Six rows are 24 sums of
                // the 32 registers.
                r += match self.0.x.n_rows - r {
                    1 => self.dots::<P, 1>(p, o, r),
                    2 => self.dots::<P, 2>(p, o, r),
                    3 => self.dots::<P, 3>(p, o, r),
                    5 => self.dots::<P, 5>(p, o, r),
                    6 => self.dots::<P, 6>(p, o, r),
                    _ => self.dots::<P, 4>(p, o, r),
                };
            }
        }
    }
}

impl Few<'_> {
    /// Output `o` of the rows `r..r + N`. Returns `N`.
    #[inline(always)]
    fn dots<P: Pairs, const N: usize>(&mut self, p: P, o: usize, r: usize) -> usize {
        let (l, x) = (p.lanes(), self.0.x);
        let w = &self.0.w.row(o)[..2 * x.n_in];
        let (chunks, last) = w.as_chunks::<64>();
        let (groups, rest) = chunks.as_chunks::<CHUNKS>();
        let mut rows: [&[[u8; 64]]; N] = [&[]; N];
        let mut whole: [&[[[u8; 64]; CHUNKS]]; N] = [&[]; N];
        for (i, (row, whole)) in rows.iter_mut().zip(&mut whole).enumerate() {
            // Rows are padded with zeros to whole chunks.
            *row = x.row(r + i).as_chunks().0;
            *whole = &row.as_chunks().0[..groups.len()];
        }
        let mut sums = [[l.gsplat(0.0); CHUNKS]; N];
        for (g, group) in groups.iter().enumerate() {
            for (c, chunk) in group.iter().enumerate() {
                l.prefetch(chunk, P::Lanes::AHEAD);
                let w = l.tbytes(chunk);
                for (sums, whole) in sums.iter_mut().zip(&whole) {
                    sums[c] = p.dot(sums[c], w, l.tbytes(&whole[g][c]));
                }
            }
        }
        let mut done = groups.len() * CHUNKS;
        for chunk in rest {
            add(p, chunk, &rows, done, &mut sums);
            done += 1;
        }
        if !last.is_empty() {
            let mut chunk = [0; 64];
            chunk[..last.len()].copy_from_slice(last);
            add(p, &chunk, &rows, done, &mut sums);
        }
        for (i, [a, b, c, d]) in sums.into_iter().enumerate() {
            let sum = l.gadd(l.gadd(a, b), l.gadd(c, d));
            self.0.tile[(r + i) * self.0.outs.len() + o - self.0.outs.start] = l.gsum(sum);
        }
        N
    }
}

/// Adds the products of chunk `c` to the first sums of each row.
#[inline(always)]
fn add<P: Pairs, const N: usize>(
    p: P,
    chunk: &[u8; 64],
    rows: &[&[[u8; 64]]; N],
    c: usize,
    sums: &mut [[Sums<P>; CHUNKS]; N],
) {
    let w = p.lanes().tbytes(chunk);
    for (sums, row) in sums.iter_mut().zip(rows) {
        sums[0] = p.dot(sums[0], w, p.lanes().tbytes(&row[c]));
    }
}
