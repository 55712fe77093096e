//! Scale searches shared by the quantisers: weighted least squares over a handful of candidate scales.

/// Groups whose largest magnitude is below this are stored as zeros: no f16 scale could hold them.
const TINY: f32 = 1e-15;

/// The nearest integer, halves to even; magnitudes beyond 2²² saturate and NaN gives 0.
pub(super) fn nearest(x: f32) -> i32 {
    const LIMIT: f32 = 4_194_303.0;
    // Adding 1.5 · 2²³ leaves no fraction bits, so the addition itself rounds.
    const SHIFT: f32 = 12_582_912.0;
    ((x.clamp(-LIMIT, LIMIT) + SHIFT) - SHIFT) as i32
}

/// The signed value of largest magnitude (the first of equals); 0 for no values.
pub(super) fn peak(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |peak: f32, &v| if v.abs() > peak.abs() { v } else { peak })
}

/// The reciprocal, with 0 for 0.
pub(super) fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// The mean of x².
pub(super) fn mean_square(x: &[f32]) -> f32 {
    x.iter().map(|v| v * v).sum::<f32>() / x.len().max(1) as f32
}

/// Error weights from column importance: larger values matter more, but small ones still count against the
/// general level `level` (a mean square) of their surroundings.
pub(super) fn weigh<const N: usize>(x: &[f32; N], importance: &[f32; N], level: f32) -> [f32; N] {
    core::array::from_fn(|i| importance[i] * libm::sqrtf(level + x[i] * x[i]))
}

/// [`weigh`] where importance is known and not all 0, or else the weights that the values give by themselves.
pub(super) fn weigh_or<const N: usize>(
    x: &[f32; N],
    importance: Option<&[f32; N]>,
    level: f32,
    alone: impl Fn(f32) -> f32,
) -> [f32; N] {
    let weighed = importance.map(|importance| weigh(x, importance, level));
    weighed.filter(|w| w.iter().any(|w| *w != 0.0)).unwrap_or_else(|| x.map(alone))
}

/// Values fitted as `scale · q + min` with `min ≤ 0`.
pub(super) struct Affine<const N: usize> {
    pub(super) scale: f32,
    pub(super) min: f32,
    pub(super) q: [u8; N],
}

/// Candidate numbers of steps in the range of the values: `q_max + first + step · i` for `i < tries`.
pub(super) struct Search {
    pub(super) first: f32,
    pub(super) step: f32,
    pub(super) tries: u8,
}

/// The search used where column importance is known.
pub(super) const FINE: Search = Search { first: -0.9, step: 0.05, tries: 37 };

impl<const N: usize> Affine<N> {
    /// Fits codes `0..=q_max`, minimising Σ w · error(difference). Each improvement moves the minimum from which the
    /// later candidates are cut.
    pub(super) fn fit(
        x: &[f32; N],
        w: &[f32; N],
        q_max: u8,
        search: &Search,
        error: impl Fn(f32) -> f32,
    ) -> Self {
        let min = x.iter().copied().fold(0.0, f32::min);
        let hi = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let range = hi - min;
        if range.is_nan() || range <= TINY {
            return Affine { scale: 0.0, min, q: [0; N] };
        }
        let top = f32::from(q_max);
        let quantize = |steps: f32, min: f32| {
            let inverse = steps / (hi - min);
            x.map(|v| nearest(inverse * (v - min)).clamp(0, q_max.into()) as u8)
        };
        let total = |fit: &Self| -> f32 {
            (0..N).map(|i| w[i] * error(fit.scale * f32::from(fit.q[i]) + fit.min - x[i])).sum()
        };
        let mut best = Affine { scale: range / top, min, q: quantize(top, min) };
        let mut best_error = total(&best);
        let sum_w: f32 = w.iter().sum();
        let sum_x: f32 = w.iter().zip(x).map(|(w, x)| w * x).sum();
        for i in 0..search.tries {
            let q = quantize(top + search.first + search.step * f32::from(i), best.min);
            let (mut sum_q, mut sum_qq, mut sum_xq) = (0.0, 0.0, 0.0);
            for i in 0..N {
                let wq = w[i] * f32::from(q[i]);
                sum_q += wq;
                sum_qq += wq * f32::from(q[i]);
                sum_xq += wq * x[i];
            }
            let det = sum_w * sum_qq - sum_q * sum_q;
            if det.is_nan() || det <= 0.0 {
                continue;
            }
            let mut fit = Affine {
                scale: (sum_w * sum_xq - sum_x * sum_q) / det,
                min: (sum_qq * sum_x - sum_q * sum_xq) / det,
                q,
            };
            if fit.min > 0.0 {
                (fit.scale, fit.min) = (sum_xq / sum_qq, 0.0);
            }
            let fit_error = total(&fit);
            if fit_error < best_error {
                (best, best_error) = (fit, fit_error);
            }
        }
        best
    }
}

/// Values fitted as `scale · q`.
pub(super) struct Linear<const N: usize> {
    pub(super) scale: f32,
    pub(super) q: [i8; N],
}

impl<const N: usize> Linear<N> {
    const ZERO: Self = Linear { scale: 0.0, q: [0; N] };

    /// Codes of `x` at an inverse scale, limited to `lo..=hi`.
    fn codes(x: &[f32; N], inverse: f32, lo: i8, hi: i8) -> [i8; N] {
        x.map(|v| nearest(inverse * v).clamp(lo.into(), hi.into()) as i8)
    }

    /// Σ w·x·q and Σ w·q².
    fn sums(x: &[f32; N], w: &[f32; N], q: &[i8; N]) -> (f32, f32) {
        (0..N).fold((0.0, 0.0), |(xq, qq), i| {
            let wq = w[i] * f32::from(q[i]);
            (xq + wq * x[i], qq + wq * f32::from(q[i]))
        })
    }

    /// Fits codes `-half..half` by trying 19 scales that put the peak at or near `-half`.
    pub(super) fn signed(x: &[f32; N], w: &[f32; N], half: i8) -> Self {
        let peak = peak(x);
        if peak.abs() < TINY {
            return Self::ZERO;
        }
        let inverse = |step: i8| -(f32::from(half) + 0.1 * f32::from(step)) / peak;
        let codes = |inverse| Self::codes(x, inverse, -half, half - 1);
        let mut best = Linear { scale: 1.0 / inverse(0), q: codes(inverse(0)) };
        let mut best_gain = 0.0;
        for step in core::iter::once(0).chain(-9..=-1).chain(1..=9) {
            let q = codes(inverse(step));
            let (xq, qq) = Self::sums(x, w, &q);
            // With the best scale xq / qq, these codes remove xq² / qq from the error Σ w·x².
            if qq > 0.0 && xq * xq > best_gain * qq {
                best = Linear { scale: xq / qq, q };
                best_gain = best.scale * xq;
            }
        }
        best
    }

    /// Fits codes `-half..half` from the peak's scale, refined code by code.
    pub(super) fn signed_refined(x: &[f32; N], w: &[f32; N], half: i8) -> Self {
        let peak = peak(x);
        if peak.abs() < TINY {
            return Self::ZERO;
        }
        let q = Self::codes(x, -f32::from(half) / peak, -half, half - 1);
        Linear { scale: 0.0, q }.refine(x, w, -half, half - 1)
    }

    /// Fits non-negative values with codes `0..=q_max`: nine scales, then code by code.
    pub(super) fn unsigned(x: &[f32; N], w: &[f32; N], q_max: i8) -> Self {
        let max = x.iter().copied().fold(0.0, f32::max);
        if max < TINY {
            return Self::ZERO;
        }
        let (mut best, mut best_error) = (Self::ZERO, f32::INFINITY);
        for step in core::iter::once(0).chain(-4..=-1).chain(1..=4i8) {
            let inverse = (f32::from(q_max) + 0.1 * f32::from(step)) / max;
            let q = Self::codes(x, inverse, 0, q_max);
            let error = (0..N).map(|i| {
                let difference = x[i] - f32::from(q[i]) / inverse;
                w[i] * difference * difference
            });
            let error = error.sum();
            if error < best_error {
                (best, best_error) = (Linear { scale: 1.0 / inverse, q }, error);
            }
        }
        best.refine(x, w, 0, q_max)
    }

    /// Coordinate descent: up to five passes moving single codes while the weighted error falls, then the least
    /// squares scale.
    fn refine(mut self, x: &[f32; N], w: &[f32; N], lo: i8, hi: i8) -> Self {
        let (mut xq, mut qq) = Self::sums(x, w, &self.q);
        for _ in 0..5 {
            let mut changed = false;
            for i in 0..N {
                let (wx, old) = (w[i] * x[i], f32::from(self.q[i]));
                let (rest_xq, rest_qq) = (xq - wx * old, qq - w[i] * old * old);
                if rest_xq == 0.0 || rest_qq.is_nan() || rest_qq <= 0.0 {
                    continue;
                }
                let q = nearest(x[i] * rest_qq / rest_xq).clamp(lo.into(), hi.into()) as i8;
                let new = f32::from(q);
                let (new_xq, new_qq) = (rest_xq + wx * new, rest_qq + w[i] * new * new);
                if q != self.q[i] && new_xq * new_xq * qq > xq * xq * new_qq {
                    (self.q[i], xq, qq, changed) = (q, new_xq, new_qq, true);
                }
            }
            if !changed {
                break;
            }
        }
        if qq > 0.0 {
            self.scale = xq / qq;
        }
        self
    }
}
