//! The most likely tokens of a row of logits: all that most samplers need to see of it.

use puna_core::ops::TopK;

/// Numbers that [`TopK`] gives for one row at most.
pub const TOP_LEN: usize = 2 * TopK::MOST + 2;

/// What [`TopK`] gives for one row of logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Top<'a> {
    logits: &'a [f32],
    ids: &'a [f32],
    log_sum: f32,
    bad: f32,
    vocab: usize,
}

impl<'a> Top<'a> {
    /// A row of the op's output, for `k` of `vocab` tokens. One that is too short holds no token.
    pub fn new(row: &'a [f32], k: usize, vocab: usize) -> Self {
        let (logits, rest) = row.split_at_checked(k).unwrap_or_default();
        let (ids, rest) = rest.split_at_checked(k).unwrap_or_default();
        let number = |i: usize| rest.get(i).copied().unwrap_or(f32::NAN);
        Top { logits, ids, log_sum: number(0), bad: number(1), vocab }
    }

    /// Tokens and their logits, the most likely first and of equal ones the lowest id first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, f32)> + 'a {
        self.ids.iter().zip(self.logits).map(|(&id, &logit)| (id as u32, logit))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Tokens of the whole row.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// The logarithm of the sum of the exponentials of the whole row, as the device computes it.
    pub fn log_sum(&self) -> f32 {
        self.log_sum
    }

    /// Whether every logit of the row is finite.
    pub fn is_finite(&self) -> bool {
        self.bad == 0.0
    }
}
