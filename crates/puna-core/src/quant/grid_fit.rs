//! Fitting magnitudes to the entries of a codebook under a scale, for the formats IQ2 and IQ3.
//!
//! A code `c` stands for `2c + 1` steps. Levels of the codebooks are near to that, not equal to it: each format corrects its
//! scale for the difference.

use super::fit::{Linear, inverse, mean_square, nearest, weigh_or};
use super::grid::Grid;
use super::super_block::LEN;

/// Groups under one scale at most.
const GROUPS: usize = 8;

/// Magnitudes and signs of a sub-block.
struct Magnitudes<const N: usize> {
    x: [f32; N],
    /// Signs of each eight values, the first value lowest.
    signs: [u8; 4],
}

impl<const N: usize> Magnitudes<N> {
    /// With `even`, of the values of a group with an odd number of minus signs, the one that costs least is negative.
    fn new(x: &[f32; N], w: &[f32; N], even: bool) -> Self {
        let mut all = Magnitudes { x: x.map(f32::abs), signs: [0; 4] };
        let groups = all.x.as_chunks_mut::<8>().0.iter_mut().zip(w.as_chunks::<8>().0);
        for (k, (group, w)) in groups.enumerate() {
            let signs = &mut all.signs[k];
            *signs = (0..8).fold(0, |bits, i| bits | u8::from(x[8 * k + i] < 0.0) << i);
            if even && signs.count_ones() % 2 == 1 {
                let cost = |i: usize| w[i] * group[i] * group[i];
                let least = (1..8).fold(0, |least, i| if cost(i) < cost(least) { i } else { least });
                group[least] = -group[least];
                *signs ^= 1 << least;
            }
        }
        all
    }
}

/// The scales to try: those that put the peak on the top code, and `reach` others on either side.
pub(super) struct Tries {
    pub(super) reach: i8,
    pub(super) step: f32,
    /// Whether groups that are entries already are fitted again with the others at the end.
    pub(super) again: bool,
}

/// Entries of the groups of a sub-block, and their scale.
#[derive(Clone, Copy)]
struct Entries {
    scale: f32,
    index: [u16; GROUPS],
}

impl Entries {
    /// The entry of zeros, without a scale.
    fn zero<const L: usize>(grid: &Grid<L>) -> Self {
        let (index, _) = grid.find(&[0; L], &[0.0; L], &[1.0; L], &[0.0; 8]);
        Entries { scale: 0.0, index: [index; GROUPS] }
    }

    /// Minimises Σ w · (scale · (2c + 1) − x)². The scale may come out negative.
    fn fit<const N: usize, const L: usize>(
        grid: &Grid<L>,
        top: u8,
        x: &[f32; N],
        w: &[f32; N],
        peak: f32,
        tries: &Tries,
    ) -> Self {
        let root = w.map(libm::sqrtf);
        let (x, w, root) = (x.as_chunks::<L>().0, w.as_chunks::<L>().0, root.as_chunks::<L>().0);
        let steps = f32::from(2 * top + 1);
        let mut best = Entries { scale: peak / steps, ..Self::zero(grid) };
        let (mut best_gain, mut exact) = (0.0, [true; GROUPS]);
        for step in -tries.reach..=tries.reach {
            let inverse = (steps + tries.step * f32::from(step)) / peak;
            let (mut index, mut found) = ([0; GROUPS], [true; GROUPS]);
            let values = values(1.0 / inverse);
            for (k, (x, root)) in x.iter().zip(root).enumerate() {
                (index[k], found[k]) = grid.find(&codes(x, inverse, top), x, root, &values);
            }
            let (xq, qq) = sums(grid, x, w, &index);
            if qq > 0.0 && xq * xq > best_gain * qq {
                best = Entries { scale: xq / qq, index };
                (best_gain, exact) = (best.scale * xq, found);
            }
        }
        if best.scale > 0.0 && exact[..x.len()].contains(&false) {
            let values = values(best.scale);
            for (k, (x, root)) in x.iter().zip(root).enumerate() {
                if tries.again || !exact[k] {
                    best.index[k] = grid.find(&codes(x, 1.0 / best.scale, top), x, root, &values).0;
                }
            }
            let (xq, qq) = sums(grid, x, w, &best.index);
            if qq > 0.0 {
                best.scale = xq / qq;
            }
        }
        best
    }
}

/// What codes stand for under a scale.
fn values(scale: f32) -> [f32; 8] {
    core::array::from_fn(|code| scale * (2 * code + 1) as f32)
}

fn codes<const L: usize>(x: &[f32; L], inverse: f32, top: u8) -> [u8; L] {
    x.map(|v| nearest(0.5 * (inverse * v - 1.0)).clamp(0, top.into()) as u8)
}

/// Σ w·x·q and Σ w·q².
fn sums<const L: usize>(grid: &Grid<L>, x: &[[f32; L]], w: &[[f32; L]], index: &[u16; GROUPS]) -> (f32, f32) {
    let (mut xq, mut qq) = (0.0, 0.0);
    for ((x, w), index) in x.iter().zip(w).zip(index) {
        let entry = grid.entry(*index);
        for i in 0..L {
            let q = f32::from(2 * entry[i] + 1);
            xq += w[i] * x[i] * q;
            qq += w[i] * q * q;
        }
    }
    (xq, qq)
}

/// What distinguishes the formats.
pub(super) struct GridKind {
    /// The largest code.
    pub(super) top: u8,
    /// Whether a group's eighth sign follows from the others.
    pub(super) even: bool,
    /// Multiple of the block's mean square in the weights with importance, and in those without.
    pub(super) level: f32,
    pub(super) level_alone: f32,
    /// Sub-blocks whose largest magnitude is below this become zeros.
    pub(super) tiny: f32,
    /// Whether the scales to try lie around the best one for free codes, not around the one of the largest value.
    pub(super) around_best: bool,
    pub(super) tries: Tries,
    /// What the block's scale is multiplied by.
    pub(super) correction: f32,
}

/// A block of `S` sub-blocks: `± d · (2 · scales[s] + 1) · (2c + 1)`.
pub(super) struct GridBlock<const S: usize> {
    pub(super) d: f32,
    pub(super) scales: [u8; S],
    pub(super) index: [[u16; GROUPS]; S],
    /// Signs of each eight values.
    pub(super) signs: [[u8; 4]; S],
}

impl<const S: usize> GridBlock<S> {
    /// Fits a block of `S` sub-blocks of `N` values; `None` if it is all zeros.
    pub(super) fn fit<const N: usize, const L: usize>(
        grid: &Grid<L>,
        kind: &GridKind,
        x: &[f32; LEN],
        importance: Option<&[f32; LEN]>,
    ) -> Option<Self> {
        const { assert!(S * N == LEN && N / L <= GROUPS) };
        let mean = mean_square(x);
        let mut block = GridBlock { d: 0.0, scales: [0; S], index: [[0; GROUPS]; S], signs: [[0; 4]; S] };
        let mut scales = [0.0; S];
        for (s, x) in x.as_chunks::<N>().0.iter().enumerate() {
            let alone = |v: f32| kind.level_alone * mean + v * v;
            let importance = importance.map(|importance| &importance.as_chunks().0[s]);
            let w = weigh_or(x, importance, kind.level * mean, alone);
            let mut part = Magnitudes::new(x, &w, kind.even);
            let largest = part.x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let peak = match kind.around_best {
                true => f32::from(kind.top + 1) * Linear::unsigned(&part.x, &w, kind.top as i8 + 2).scale,
                false => largest,
            };
            let mut fit = Entries::zero(grid);
            if largest >= kind.tiny && peak > 0.0 && peak.is_finite() {
                fit = Entries::fit(grid, kind.top, &part.x, &w, peak, &kind.tries);
            }
            if fit.scale < 0.0 {
                fit.scale = -fit.scale;
                part.signs = part.signs.map(|signs| !signs);
            }
            (scales[s], block.index[s], block.signs[s]) = (fit.scale, fit.index, part.signs);
        }
        let most = scales.iter().copied().fold(0.0, f32::max);
        if most == 0.0 {
            return None;
        }
        let d = most / 31.0;
        let inverse = inverse(d);
        block.scales = scales.map(|scale| nearest(0.5 * (inverse * scale - 1.0)).clamp(0, 15) as u8);
        block.d = d * kind.correction;
        Some(block)
    }
}
