//! A codebook to be searched: which entry a vector of codes is, and which entries lie near one that is none.

use alloc::vec::Vec;

/// A codebook of entries of `L` codes each.
#[derive(Clone, Debug)]
pub(super) struct Grid<const L: usize> {
    /// How many codes there are.
    levels: u8,
    entries: Vec<[u8; L]>,
    /// For every vector of codes, in the order of [`place`](Self::place), where its entries in `near` start: the entry
    /// that it is, or those that are nearest to it. They end where the next vector's start.
    starts: Vec<u32>,
    near: Vec<u16>,
}

impl<const L: usize> Grid<L> {
    /// Unpacks a codebook of entries of 16 bits. What is none of them gets the entries at the `rings` shortest distances,
    /// the nearest first.
    pub(super) fn new(packed: &[u16], levels: u8, rings: usize) -> Self {
        let bits = 16 / L;
        let entries =
            packed.iter().map(|p| core::array::from_fn(|j| (p >> (bits * j)) as u8 & ((1 << bits) - 1)));
        let entries: Vec<[u8; L]> = entries.collect();
        let count = usize::from(levels).pow(L as u32);
        let mut grid = Grid { levels, entries, starts: Vec::with_capacity(count + 1), near: Vec::new() };
        let mut distances: Vec<u8> = Vec::with_capacity(grid.entries.len());
        for place in 0..count {
            grid.starts.push(grid.near.len() as u32);
            let mut rest = place;
            let codes: [u8; L] = core::array::from_fn(|_| {
                let code = rest % usize::from(levels);
                rest /= usize::from(levels);
                code as u8
            });
            // At most 4 · 7², or 8 · 2².
            let distance = |entry: &[u8; L]| -> u8 {
                entry.iter().zip(codes).map(|(a, b)| a.abs_diff(b) * a.abs_diff(b)).sum()
            };
            distances.clear();
            distances.extend(grid.entries.iter().map(distance));
            let mut above = None;
            for _ in 0..rings {
                let farther = distances.iter().copied().filter(|d| above.is_none_or(|above| *d > above));
                let Some(ring) = farther.min() else { break };
                grid.near.extend((0..).zip(&distances).filter(|(_, d)| **d == ring).map(|(entry, _)| entry));
                // What is an entry has no need of others.
                if ring == 0 {
                    break;
                }
                above = Some(ring);
            }
        }
        grid.starts.push(grid.near.len() as u32);
        grid
    }

    /// The position of a vector of codes: its codes as digits, the first lowest.
    fn place(&self, codes: &[u8; L]) -> usize {
        codes.iter().rev().fold(0, |place, &code| place * usize::from(self.levels) + usize::from(code))
    }

    /// The codes of an entry.
    pub(super) fn entry(&self, index: u16) -> &[u8; L] {
        &self.entries[usize::from(index)]
    }

    /// The entry that has these codes, and `true`; or else the one near them that makes Σ w · (value(code) − x)² least, and
    /// `false`.
    pub(super) fn find(&self, codes: &[u8; L], x: &[f32; L], w: &[f32; L], values: &[f32; 8]) -> (u16, bool) {
        let place = self.place(codes);
        let near = &self.near[self.starts[place] as usize..self.starts[place + 1] as usize];
        if let [entry] = *near
            && self.entry(entry) == codes
        {
            return (entry, true);
        }
        let (mut best, mut least) = (near[0], f32::INFINITY);
        for &index in near {
            let entry = self.entry(index);
            let mut error = 0.0;
            for i in 0..L {
                let difference = values[usize::from(entry[i] & 7)] - x[i];
                error += w[i] * difference * difference;
            }
            if error < least {
                (best, least) = (index, error);
            }
        }
        (best, false)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{codebook, grids};
    use super::*;

    /// Every entry is found under its own codes, and other vectors find what a search of the whole codebook finds.
    #[test]
    fn entries_and_their_neighbours_are_found() {
        let grid = Grid::<8>::new(&grids::IQ2_XS, 3, 2);
        let values = [1.0, 3.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        for (index, levels) in codebook::IQ2_XS.iter().enumerate() {
            let codes = levels.map(|level| [8, 25, 43].iter().position(|l| *l == level).unwrap() as u8);
            let x = codes.map(|c| values[usize::from(c)]);
            assert_eq!(grid.find(&codes, &x, &[1.0; 8], &values), (index as u16, true));
        }
        for seed in 0..6561u32 {
            let codes: [u8; 8] = core::array::from_fn(|j| (seed / 3u32.pow(j as u32) % 3) as u8);
            let x = codes.map(|c| values[usize::from(c)]);
            let error = |entry: &[u8; 8]| -> f32 {
                entry.iter().zip(x).map(|(c, x)| (values[usize::from(*c)] - x).powi(2)).sum()
            };
            let least = grid.entries.iter().map(error).fold(f32::INFINITY, f32::min);
            assert_eq!(error(grid.entry(grid.find(&codes, &x, &[1.0; 8], &values).0)), least);
        }
    }
}
