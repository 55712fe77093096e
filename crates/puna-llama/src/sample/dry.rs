//! DRY, "don't repeat yourself": a penalty that grows with the length of the sequence a token would repeat.

use super::{SampleError, checked, reserved};
use alloc::vec::Vec;

/// Options of the DRY penalty (text-generation-webui pull request 5677).
///
/// If the last `n` tokens stood somewhere before, followed by token `t`, and `n >= allowed_length` (the longest such
/// `n` counts), the logit of `t` is lowered by `multiplier * base^(n - allowed_length)`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Dry {
    /// Strength; 0 switches the penalty off.
    pub multiplier: f32,
    /// Growth per repeated token.
    pub base: f32,
    /// Repeats shorter than this are free.
    pub allowed_length: usize,
    /// How many of the last tokens are searched; `usize::MAX` for all.
    pub last_n: usize,
    /// Tokens that no repeated sequence crosses, such as the newline and the markers of a prompt.
    pub breakers: Vec<u32>,
}

impl Dry {
    /// Strength `multiplier` (0.8 is usual), base 1.75, allowed length 2, the last 4096 tokens, no breakers.
    pub fn new(multiplier: f32) -> Self {
        Self { multiplier, base: 1.75, allowed_length: 2, last_n: 4096, breakers: Vec::new() }
    }

    /// Sets [`base`](Self::base).
    pub fn base(mut self, base: f32) -> Self {
        self.base = base;
        self
    }

    /// Sets [`allowed_length`](Self::allowed_length).
    pub fn allowed_length(mut self, tokens: usize) -> Self {
        self.allowed_length = tokens;
        self
    }

    /// Sets [`last_n`](Self::last_n).
    pub fn last_n(mut self, tokens: usize) -> Self {
        self.last_n = tokens;
        self
    }

    /// Sets [`breakers`](Self::breakers).
    pub fn breakers(mut self, ids: impl IntoIterator<Item = u32>) -> Self {
        self.breakers = ids.into_iter().collect();
        self
    }
}

/// The penalty with its working space.
#[derive(Clone, Debug)]
pub(super) struct DryPenalty {
    options: Dry,
    /// `matches[k]`: how many tokens before position `k` from the end repeat the end of the history.
    matches: Vec<u32>,
    /// Longest repeat that each token would continue; all zero between calls.
    longest: Vec<u32>,
}

impl DryPenalty {
    /// `None` when the options ask for none.
    pub(super) fn new(options: Option<&Dry>, vocab: usize) -> Result<Option<Self>, SampleError> {
        let Some(options) = options else { return Ok(None) };
        let Dry { multiplier, base, .. } = *options;
        checked("dry.multiplier", multiplier, multiplier.is_finite() && multiplier >= 0.0, "0 or more")?;
        checked("dry.base", base, base.is_finite() && base > 0.0, "above 0")?;
        if multiplier == 0.0 || options.last_n == 0 {
            return Ok(None);
        }
        let mut options = options.clone();
        options.breakers.sort_unstable();
        // A match of nothing precedes every token; only real repeats count.
        options.allowed_length = options.allowed_length.max(1);
        let mut longest = reserved(vocab)?;
        longest.resize(vocab, 0);
        let matches = reserved(options.last_n.min(1 << 16))?;
        Ok(Some(Self { options, matches, longest }))
    }

    /// Lowers the logits of tokens that would continue a repeat. Linear in the searched history.
    pub(super) fn apply(&mut self, logits: &mut [f32], history: &[u32]) -> Result<(), SampleError> {
        let window = super::last(history, self.options.last_n);
        let is_breaker = |id: &u32| self.options.breakers.binary_search(id).is_ok();
        // The repeated sequence lies after the last breaker, so no match is longer than this.
        let limit = window.iter().rev().position(is_breaker).unwrap_or(window.len());
        if limit < self.options.allowed_length {
            return Ok(());
        }
        self.find_matches(window, limit)?;

        // `matches[k]` is about the tokens up to position `len - 1 - k`, which the one at `len - k` followed.
        let followers = || window.iter().rev().zip(self.matches.iter().skip(1));
        for (&id, &n) in followers() {
            if let Some(longest) = self.longest.get_mut(id as usize) {
                *longest = n.max(*longest);
            }
        }
        for (&id, _) in followers() {
            let (Some(n), Some(logit)) = (self.longest.get_mut(id as usize), logits.get_mut(id as usize))
            else {
                continue;
            };
            let n = core::mem::take(n) as usize;
            if n >= self.options.allowed_length && *logit > f32::NEG_INFINITY {
                let grown = libm::powf(self.options.base, (n - self.options.allowed_length) as f32);
                // Finite, so that a token which is the only one left can still be chosen.
                *logit = (*logit - self.options.multiplier * grown).max(f32::MIN);
            }
        }
        Ok(())
    }

    /// The Z function (Main and Lorentz 1984) of the reversed `window`, with matches cut at `limit`.
    fn find_matches(&mut self, window: &[u32], limit: usize) -> Result<(), SampleError> {
        let n = window.len();
        let from_end = |k: usize| window[n - 1 - k];
        self.matches.clear();
        self.matches.try_reserve(n).map_err(|_| SampleError::OutOfMemory)?;
        self.matches.push(0);
        // `start .. end` is the match that reaches furthest; inside it, earlier answers hold again.
        let (mut start, mut end) = (0, 0);
        for k in 1..n {
            let mut len = if k < end { (self.matches[k - start] as usize).min(end - k) } else { 0 };
            while len < limit && k + len < n && from_end(len) == from_end(k + len) {
                len += 1;
            }
            if k + len > end {
                (start, end) = (k, k + len);
            }
            self.matches.push(len as u32);
        }
        Ok(())
    }
}
