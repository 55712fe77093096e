//! Fitting values to three levels under a scale and a shift, for the formats IQ1: the best of all ways to cut the values, in
//! order of size, into those for the lowest, the middle and the highest level.

use super::grid::Grid;

/// The three levels with the shift +⅛, or with −⅛.
pub(super) fn levels(negative: bool) -> [f32; 3] {
    if negative { [-1.125, -0.125, 0.875] } else { [-0.875, 0.125, 1.125] }
}

/// Codes of 8 values each, and what they mean.
pub(super) struct Ternary<const N: usize> {
    /// Zero or positive.
    pub(super) scale: f32,
    /// Whether the shift of the first and of the second half is −⅛.
    pub(super) negative: [bool; 2],
    /// Entries of the codebook.
    pub(super) index: [u16; 4],
    codes: [u8; N],
}

impl<const N: usize> Ternary<N> {
    /// Minimises Σ w · (scale · level − x)² over the `shifts` of both halves. Values that are all below `tiny` get the scale 0.
    pub(super) fn fit(grid: &Grid<8>, x: &[f32; N], w: &[f32; N], shifts: &[[bool; 2]], tiny: f32) -> Self {
        let mut fit = Ternary { scale: 0.0, negative: [false; 2], index: [0; 4], codes: [1; N] };
        if x.iter().any(|v| v.abs() >= tiny) {
            fit.cut(x, w, shifts);
        }
        if fit.scale < 0.0 {
            fit.scale = -fit.scale;
            fit.codes = fit.codes.map(|code| 2 - code);
            fit.negative = fit.negative.map(|negative| !negative);
        }
        fit.entries(grid, x, w);
        fit
    }

    /// Scale, shifts and codes without regard to the codebook.
    fn cut(&mut self, x: &[f32; N], w: &[f32; N], shifts: &[[bool; 2]]) {
        let mut order: [usize; N] = core::array::from_fn(|i| i);
        order.sort_unstable_by(|&a, &b| x[a].total_cmp(&x[b]));
        // Σ w·x and Σ w of the smallest values, as many as the place says, in each half.
        let mut below = [[[0.0f32; 2]; 2]; 33];
        for (n, &i) in order.iter().enumerate() {
            below[n + 1] = below[n];
            let half = &mut below[n + 1][i / (N / 2)];
            half[0] += w[i] * x[i];
            half[1] += w[i];
        }
        let (mut best_gain, mut best) = (f32::NEG_INFINITY, None);
        for first in 0..=N {
            for second in first..=N {
                for &negative in shifts {
                    let (mut xq, mut qq) = (0.0, 0.0);
                    for half in 0..2 {
                        let level = levels(negative[half]);
                        let (a, b, end) = (below[first][half], below[second][half], below[N][half]);
                        let parts = [a, [b[0] - a[0], b[1] - a[1]], [end[0] - b[0], end[1] - b[1]]];
                        for (level, [wx, w]) in level.iter().zip(parts) {
                            xq += level * wx;
                            qq += level * level * w;
                        }
                    }
                    if qq > 0.0 && xq * xq > best_gain * qq {
                        self.scale = xq / qq;
                        best_gain = self.scale * xq;
                        best = Some((first, second, negative));
                    }
                }
            }
        }
        if let Some((first, second, negative)) = best {
            self.negative = negative;
            for (n, &i) in order.iter().enumerate() {
                self.codes[i] = u8::from(n >= first) + u8::from(n >= second);
            }
        }
    }

    /// What each value's code stands for under the scale 1.
    fn level(&self, group: usize) -> [f32; 3] {
        levels(self.negative[group / (N / 16)])
    }

    /// The entries nearest to the codes; where one is not the codes, the scale that fits the entries.
    fn entries(&mut self, grid: &Grid<8>, x: &[f32; N], w: &[f32; N]) {
        let (x, w) = (x.as_chunks::<8>().0, w.as_chunks::<8>().0);
        let mut exact = true;
        for (k, codes) in self.codes.as_chunks::<8>().0.iter().enumerate() {
            let [a, b, c] = self.level(k).map(|level| self.scale * level);
            let (index, found) = grid.find(codes, &x[k], &w[k], &[a, b, c, 0.0, 0.0, 0.0, 0.0, 0.0]);
            self.index[k] = index;
            exact &= found;
        }
        if exact {
            return;
        }
        let (mut xq, mut qq) = (0.0, 0.0);
        for k in 0..x.len() {
            let (part_xq, part_qq) = self.sums(grid, k, &x[k], &w[k]);
            xq += part_xq;
            qq += part_qq;
        }
        if xq > 0.0 && qq > 0.0 {
            self.scale = xq / qq;
        }
    }

    /// Σ w·x·level and Σ w·level² of one group.
    pub(super) fn sums(&self, grid: &Grid<8>, group: usize, x: &[f32; 8], w: &[f32; 8]) -> (f32, f32) {
        let (level, entry) = (self.level(group), grid.entry(self.index[group]));
        (0..8).fold((0.0, 0.0), |(xq, qq), i| {
            let q = level[usize::from(entry[i]).min(2)];
            (xq + w[i] * q * x[i], qq + w[i] * q * q)
        })
    }
}
