//! Penalties on tokens that occurred lately: repetition, frequency and presence.

use super::{SampleError, Sampling, checked, reserved};
use alloc::vec::Vec;

/// Divides or lowers the logits of the tokens in the last `last_n` positions.
///
/// Repetition (Keskar et al. 2019, "CTRL"): a positive logit is divided by the penalty, a negative one multiplied.
/// Frequency and presence: the logit is lowered by `count * frequency + presence`.
#[derive(Clone, Debug)]
pub(super) struct Penalties {
    repetition: f32,
    frequency: f32,
    presence: f32,
    last_n: usize,
    /// Occurrences of each token in the window; all zero between calls.
    counts: Vec<u32>,
}

impl Penalties {
    /// `None` when the options ask for none.
    pub(super) fn new(options: &Sampling, vocab: usize) -> Result<Option<Self>, SampleError> {
        let number = "a number";
        let repetition = options.repetition_penalty.unwrap_or(1.0);
        checked("repetition_penalty", repetition, repetition.is_finite() && repetition > 0.0, "above 0")?;
        let frequency = options.frequency_penalty.unwrap_or(0.0);
        checked("frequency_penalty", frequency, frequency.is_finite(), number)?;
        let presence = options.presence_penalty.unwrap_or(0.0);
        checked("presence_penalty", presence, presence.is_finite(), number)?;
        let last_n = options.penalty_last_n.unwrap_or(64);
        if last_n == 0 || (repetition == 1.0 && frequency == 0.0 && presence == 0.0) {
            return Ok(None);
        }
        let mut counts = reserved(vocab)?;
        counts.resize(vocab, 0);
        Ok(Some(Self { repetition, frequency, presence, last_n, counts }))
    }

    pub(super) fn apply(&mut self, logits: &mut [f32], history: &[u32]) {
        let window = super::last(history, self.last_n);
        for &id in window {
            if let Some(count) = self.counts.get_mut(id as usize) {
                *count += 1;
            }
        }
        for &id in window {
            let (Some(count), Some(logit)) = (self.counts.get_mut(id as usize), logits.get_mut(id as usize))
            else {
                continue;
            };
            // Later occurrences of the same token find 0 here.
            let count = core::mem::take(count);
            if count > 0 {
                *logit = if *logit > 0.0 { *logit / self.repetition } else { *logit * self.repetition };
                *logit -= count as f32 * self.frequency + self.presence;
            }
        }
    }
}
