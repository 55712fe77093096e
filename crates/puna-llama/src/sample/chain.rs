//! From logits to one token: truncation to the likely ones, then a draw.

use super::{Rng, SampleError, Sampling, Top, checked, reserved};
use alloc::vec::Vec;
use core::cmp::Ordering;
use puna_core::ops::TopK;

/// A token that may still be chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: u32,
    pub(super) logit: f32,
    /// What the current step orders by, smallest first.
    key: f32,
}

impl Candidate {
    fn new(id: usize, logit: f32) -> Self {
        Self { id: id as u32, logit, key: -logit }
    }

    /// By key, and the lowest id first among equals.
    fn order(&self, other: &Self) -> Ordering {
        self.key.total_cmp(&other.key).then(self.id.cmp(&other.id))
    }
}

/// Top-k, typical, top-p and min-p, in this order; then temperature and the draw.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    temperature: f32,
    top_k: Option<usize>,
    typical_p: Option<f32>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    candidates: Vec<Candidate>,
}

impl Chain {
    /// `None` when the options ask for the most likely token.
    pub(super) fn new(options: &Sampling, vocab: usize) -> Result<Option<Self>, SampleError> {
        let temperature = options.temperature.unwrap_or(0.0);
        checked("temperature", temperature, temperature.is_finite() && temperature >= 0.0, "0 or more")?;
        let share = |name, value: Option<f32>| match value {
            Some(p) => checked(name, p, (0.0..=1.0).contains(&p), "between 0 and 1").map(|()| Some(p)),
            None => Ok(None),
        };
        let top_k = options.top_k.filter(|&k| k > 0 && k < vocab);
        let typical_p = share("typical_p", options.typical_p)?.filter(|&p| p < 1.0);
        let top_p = share("top_p", options.top_p)?.filter(|&p| p < 1.0);
        let min_p = share("min_p", options.min_p)?.filter(|&p| p > 0.0);
        if temperature == 0.0 {
            return Ok(None);
        }
        let candidates = reserved(match top_k {
            Some(k) => top_space(k, vocab),
            None if typical_p.or(top_p).or(min_p).is_some() => vocab,
            None => 0,
        })?;
        Ok(Some(Self { temperature, top_k, typical_p, top_p, min_p, candidates }))
    }

    /// Chooses a token. `max` is the largest of `logits`, which serve as working space.
    pub(super) fn draw(&mut self, logits: &mut [f32], max: f32, rng: &mut Rng) -> Result<u32, SampleError> {
        // A division, because the inverse of a tiny temperature is infinite.
        let temperature = self.temperature;
        let weight = |logit: f32, max: f32| libm::expf((logit - max) / temperature);
        if self.top_k.is_none() && self.typical_p.or(self.top_p).or(self.min_p).is_none() {
            for logit in logits.iter_mut() {
                *logit = weight(*logit, max);
            }
            return pick(logits.iter().enumerate().map(|(id, &weight)| (id as u32, weight)), rng);
        }

        match self.top_k {
            Some(k) => keep_top(logits, k, &mut self.candidates),
            None => {
                let floor = match self.min_p {
                    // Nothing before min-p changes the likeliest token, so the others need not be gathered at all.
                    Some(p) if self.typical_p.or(self.top_p).is_none() => max + libm::logf(p),
                    _ => f32::MIN,
                };
                self.candidates.clear();
                let likely = logits.iter().enumerate().filter(|&(_, &logit)| logit >= floor);
                self.candidates.extend(likely.map(|(id, &logit)| Candidate::new(id, logit)));
            }
        }
        if let Some(p) = self.typical_p {
            keep_typical(&mut self.candidates, p);
        }
        if let Some(p) = self.top_p {
            for candidate in &mut self.candidates {
                candidate.key = -candidate.logit;
            }
            keep_mass(&mut self.candidates, p);
        }
        self.finish(rng)
    }

    /// Min-p, temperature and the draw.
    fn finish(&mut self, rng: &mut Rng) -> Result<u32, SampleError> {
        let max = largest(&self.candidates);
        if let Some(p) = self.min_p {
            let floor = max + libm::logf(p);
            self.candidates.retain(|candidate| candidate.logit >= floor);
        }
        let weight = |logit: f32| libm::expf((logit - max) / self.temperature);
        pick(self.candidates.iter().map(|c| (c.id, weight(c.logit))), rng)
    }

    /// How many of the most likely tokens [`draw_top`](Self::draw_top) needs, if that is fewer than all.
    pub(super) fn top(&self) -> Option<usize> {
        match self.top_k {
            Some(k) => Some(k).filter(|&k| k <= TopK::MOST),
            None if self.typical_p.is_some() || self.top_p.or(self.min_p).is_none() => None,
            None => Some(TopK::MOST),
        }
    }

    /// Chooses what [`draw`](Self::draw) would choose from the whole row, or nothing if `top` leaves that open.
    pub(super) fn draw_top(&mut self, top: &Top<'_>, rng: &mut Rng) -> Result<Option<u32>, SampleError> {
        self.candidates.clear();
        self.candidates.extend(top.iter().map(|(id, logit)| Candidate::new(id as usize, logit)));
        self.candidates.sort_unstable_by(Candidate::order);
        if let Some(k) = self.top_k {
            // What is left of the row plays no part.
            self.candidates.truncate(k);
            if let Some(p) = self.typical_p {
                keep_typical(&mut self.candidates, p);
            }
            if let Some(p) = self.top_p {
                for candidate in &mut self.candidates {
                    candidate.key = -candidate.logit;
                }
                keep_mass(&mut self.candidates, p);
            }
        } else if let Some(p) = self.top_p {
            if !keep_mass_of(&mut self.candidates, p, top) {
                return Ok(None);
            }
        } else if let Some(p) = self.min_p {
            let floor = largest(&self.candidates) + libm::logf(p);
            let last = self.candidates.last().map_or(f32::INFINITY, |c| c.logit);
            if last >= floor && top.len() < top.vocab() {
                return Ok(None);
            }
            self.candidates.retain(|candidate| candidate.logit >= floor);
            // The whole row is drawn from in the order of ids.
            self.candidates.sort_unstable_by_key(|candidate| candidate.id);
        }
        self.finish(rng).map(Some)
    }
}

/// [`keep_mass`] for the beginning of a sorted row of which the rest is known only as a sum. `false` when that leaves
/// open where it would cut.
fn keep_mass_of(candidates: &mut Vec<Candidate>, share: f32, top: &Top<'_>) -> bool {
    /// How far the sum may be off, many times over: devices compute it in F32, exponentials to about 1e-5.
    const MARGIN: f64 = 2e-4;
    let max = largest(candidates);
    let needed = f64::from(share) * libm::exp(f64::from(top.log_sum()) - f64::from(max));
    let mut mass = 0.0;
    for (i, candidate) in candidates.iter().enumerate() {
        mass += f64::from(libm::expf(candidate.logit - max));
        if (mass - needed).abs() <= MARGIN * needed {
            return false;
        }
        if mass > needed {
            candidates.truncate(i + 1);
            return true;
        }
    }
    false
}

/// Space that [`keep_top`] uses.
pub(super) fn top_space(k: usize, vocab: usize) -> usize {
    k.saturating_mul(2).clamp(64.min(vocab), vocab)
}

/// Puts the `k` largest of `logits` into `into`, largest first, within its capacity (see [`top_space`]).
///
/// Collects what beats the k-th best so far and sheds the rest whenever the space is full: one scan and a few
/// selections among `2k`, instead of a sort of the vocabulary.
pub(super) fn keep_top(logits: &[f32], k: usize, into: &mut Vec<Candidate>) {
    into.clear();
    let space = top_space(k, logits.len());
    let mut floor = f32::NEG_INFINITY;
    for (id, &logit) in logits.iter().enumerate() {
        if logit <= floor {
            continue; // an equal logit at a higher id loses too
        }
        if into.len() == space && k < space {
            let (_, kth, _) = into.select_nth_unstable_by(k.saturating_sub(1), Candidate::order);
            floor = kth.logit;
            into.truncate(k);
            if logit <= floor {
                continue;
            }
        }
        into.push(Candidate::new(id, logit));
    }
    into.sort_unstable_by(Candidate::order);
    into.truncate(k);
}

/// Locally typical sampling (Meister et al. 2022): keeps the tokens whose surprise is nearest to the entropy.
fn keep_typical(candidates: &mut Vec<Candidate>, share: f32) {
    let max = largest(candidates);
    let (mut total, mut sum) = (0.0, 0.0);
    for candidate in candidates.iter() {
        let logit = candidate.logit - max;
        let weight = f64::from(libm::expf(logit));
        total += weight;
        sum += weight * f64::from(logit);
    }
    // Surprise is `ln(total) - logit`, entropy `ln(total) - mean`.
    let mean = (sum / total) as f32;
    for candidate in candidates.iter_mut() {
        candidate.key = libm::fabsf(mean - (candidate.logit - max));
    }
    keep_mass(candidates, share);
}

/// Keeps the shortest run of candidates, in order of their keys, that holds `share` of the probability.
///
/// Only as much as is needed gets sorted; what stays is in order.
fn keep_mass(candidates: &mut Vec<Candidate>, share: f32) {
    let max = largest(candidates);
    let weight = |candidate: &Candidate| f64::from(libm::expf(candidate.logit - max));
    let needed = f64::from(share) * candidates.iter().map(weight).sum::<f64>();
    let (mut mass, mut kept, mut sorted) = (0.0, 0, 0);
    while kept < candidates.len() {
        if kept == sorted {
            let rest = &mut candidates[sorted..];
            let n = (4 * sorted).max(64).min(rest.len());
            if n < rest.len() {
                rest.select_nth_unstable_by(n, Candidate::order);
            }
            rest[..n].sort_unstable_by(Candidate::order);
            sorted += n;
        }
        mass += weight(&candidates[kept]);
        kept += 1;
        if mass >= needed {
            break;
        }
    }
    candidates.truncate(kept);
}

fn largest(candidates: &[Candidate]) -> f32 {
    candidates.iter().map(|candidate| candidate.logit).fold(f32::NEG_INFINITY, f32::max)
}

/// Draws one of the ids with a probability in proportion to its weight.
fn pick(weighted: impl Iterator<Item = (u32, f32)> + Clone, rng: &mut Rng) -> Result<u32, SampleError> {
    let total: f64 = weighted.clone().map(|(_, weight)| f64::from(weight)).sum();
    let target = rng.uniform() * total;
    let (mut mass, mut last) = (0.0, None);
    for (id, weight) in weighted {
        if weight > 0.0 {
            mass += f64::from(weight);
            last = Some(id);
            if mass > target {
                break;
            }
        }
    }
    last.ok_or(SampleError::NothingLeft)
}
