//! Choosing the next token from logits.
//!
//! The steps come in llama.cpp's default order: logit bias; repetition, frequency and presence penalties; DRY; top-k;
//! typical-p; top-p; min-p; temperature; the draw. Truncation therefore sees probabilities at temperature 1, and each
//! step sees those of the tokens that the steps before it left.
//!
//! The same options, seed, logits and history give the same token. Among equal logits the lowest id wins.
//! Nothing is allocated per token, and the vocabulary is never sorted as a whole.

mod chain;
mod dry;
mod penalty;
mod rng;
mod stop;
#[cfg(test)]
mod tests;
mod top;

pub use dry::Dry;
pub use rng::Rng;
pub use stop::{Passed, StopStrings};
pub use top::{TOP_LEN, Top};

use alloc::vec::Vec;
use chain::{Candidate, Chain};
use core::fmt;
use dry::DryPenalty;
use penalty::Penalties;

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// How tokens are chosen. The default is greedy: the most likely token, nothing penalised.
        ///
        /// Meta's reference code for Llama 4 samples with temperature 0.6 and top-p 0.9; that is the caller's choice.
        #[derive(Clone, Debug, Default, PartialEq)]
        #[non_exhaustive]
        pub struct Sampling {
            $($(#[$doc])* pub $name: Option<$type>,)*
        }

        impl Sampling {
            $(
                #[doc = concat!("Sets [`", stringify!($name), "`](Self#structfield.", stringify!($name), ").")]
                #[must_use]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = Some($name);
                    self
                }
            )*
        }
    };
}

options! {
    /// Divides the logits before the draw. 0, or nothing: the most likely token after bias and penalties, and the
    /// truncation options below play no part.
    temperature: f32,
    /// Keeps the `k` most likely tokens; 0 keeps all.
    top_k: usize,
    /// Keeps the shortest list of most likely tokens that holds this share of the probability; 1 keeps all.
    top_p: f32,
    /// Keeps tokens at least this likely, relative to the most likely one; 0 keeps all.
    min_p: f32,
    /// Keeps the tokens of most typical surprise that hold this share of the probability; 1 keeps all.
    typical_p: f32,
    /// Divides the positive and multiplies the negative logits of recent tokens; 1 changes nothing.
    repetition_penalty: f32,
    /// Is taken from a recent token's logit once for each occurrence.
    frequency_penalty: f32,
    /// Is taken from a recent token's logit once.
    presence_penalty: f32,
    /// How many of the last tokens these three penalties look at; 64 if not set, `usize::MAX` for all.
    penalty_last_n: usize,
    /// Penalty on repeated sequences.
    dry: Dry,
    /// Is added to the logits of these tokens. Negative infinity bans a token.
    logit_bias: Vec<(u32, f32)>,
    /// Where the random numbers start; 0 if not set. This library has no source of chance of its own.
    seed: u64,
    /// Asks for log-probabilities: of the chosen token, and of this many of the most likely ones.
    logprobs: usize,
}

/// A chosen token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampled {
    /// The token.
    pub id: u32,
    /// Its natural log-probability under the model itself, before bias, penalties, truncation and temperature.
    /// Present when [`Sampling::logprobs`](Sampling#structfield.logprobs) is set.
    pub logprob: Option<f32>,
}

/// Chooses tokens by one set of [`Sampling`] options. A clone goes on with the same random numbers.
#[derive(Clone, Debug)]
pub struct Sampler {
    vocab: usize,
    bias: Vec<(u32, f32)>,
    penalties: Option<Penalties>,
    dry: Option<DryPenalty>,
    chain: Option<Chain>,
    logprobs: Option<Logprobs>,
    rng: Rng,
}

impl Sampler {
    /// Checks the options for a vocabulary of `vocab` tokens and allocates all working space.
    ///
    /// # Errors
    /// [`SampleError::Option`], [`SampleError::TokenId`] and [`SampleError::OutOfMemory`].
    pub fn new(options: &Sampling, vocab: usize) -> Result<Self, SampleError> {
        let bias = options.logit_bias.clone().unwrap_or_default();
        for &(id, value) in &bias {
            if id as usize >= vocab {
                return Err(SampleError::TokenId { id, vocab });
            }
            checked("logit_bias", value, value < f32::INFINITY, "a number or negative infinity")?;
        }
        Ok(Self {
            vocab,
            bias,
            penalties: Penalties::new(options, vocab)?,
            dry: DryPenalty::new(options.dry.as_ref(), vocab)?,
            chain: Chain::new(options, vocab)?,
            logprobs: options.logprobs.map(|n| Logprobs::new(n, vocab)).transpose()?,
            rng: Rng::new(options.seed.unwrap_or(0)),
        })
    }

    /// Chooses the token that follows `history` (the prompt and everything generated so far).
    ///
    /// `logits` holds one value per token of the vocabulary; negative infinity bans a token. It serves as working
    /// space and is left in no particular state.
    ///
    /// # Errors
    /// [`SampleError::Length`], [`SampleError::NotFinite`], [`SampleError::NothingLeft`], [`SampleError::OutOfMemory`]
    /// (only when [`Dry::last_n`] is without bound). The random numbers have not advanced then.
    pub fn sample(&mut self, logits: &mut [f32], history: &[u32]) -> Result<Sampled, SampleError> {
        if logits.len() != self.vocab {
            return Err(SampleError::Length { expected: self.vocab, found: logits.len() });
        }
        let mut best = argmax(logits)?;
        if let Some(logprobs) = &mut self.logprobs {
            logprobs.measure(logits, best.1);
        }
        if !self.bias.is_empty() || self.penalties.is_some() || self.dry.is_some() {
            for &(id, value) in &self.bias {
                if let Some(logit) = logits.get_mut(id as usize) {
                    *logit += value;
                }
            }
            if let Some(penalties) = &mut self.penalties {
                penalties.apply(logits, history);
            }
            if let Some(dry) = &mut self.dry {
                dry.apply(logits, history)?;
            }
            best = argmax(logits)?;
        }
        let id = match &mut self.chain {
            None => best.0,
            Some(chain) => chain.draw(logits, best.1, &mut self.rng)?,
        };
        Ok(Sampled { id, logprob: self.logprobs.as_ref().and_then(|logprobs| logprobs.of(id)) })
    }

    /// How many of the most likely tokens [`sample_top`](Self::sample_top) may do with; `None` when only the whole row of
    /// logits will do: with penalties, DRY, biases, log-probabilities, or a draw that nothing truncates.
    pub fn top(&self) -> Option<usize> {
        let whole = !self.bias.is_empty()
            || self.penalties.is_some()
            || self.dry.is_some()
            || self.logprobs.is_some();
        match &self.chain {
            _ if whole => None,
            None => Some(1),
            Some(chain) => chain.top(),
        }
    }

    /// Chooses the token that [`sample`](Self::sample) would choose from the row of logits that `top` was taken from.
    /// `None` when `top` does not hold enough of it to be sure; then nothing has changed.
    ///
    /// # Errors
    /// [`SampleError::NothingLeft`].
    pub fn sample_top(&mut self, top: &Top<'_>) -> Result<Option<Sampled>, SampleError> {
        if self.top().is_none_or(|k| k.min(self.vocab) > top.len()) || top.vocab() != self.vocab {
            return Ok(None);
        }
        let id = match &mut self.chain {
            None => top.iter().next().map(|(id, _)| id),
            Some(chain) => chain.draw_top(top, &mut self.rng)?,
        };
        Ok(id.map(|id| Sampled { id, logprob: None }))
    }

    /// The most likely tokens of the last [`sample`](Self::sample) with their log-probabilities, most likely first;
    /// as many as [`Sampling::logprobs`](Sampling#structfield.logprobs) asks for.
    pub fn top_logprobs(&self) -> impl ExactSizeIterator<Item = (u32, f32)> + '_ {
        let (top, log_total) = self.logprobs.as_ref().map_or((&[][..], 0.0), |l| (&l.top[..], l.log_total));
        top.iter().map(move |candidate| (candidate.id, candidate.logit - log_total))
    }
}

/// The model's own distribution, kept aside before anything changes it.
#[derive(Clone, Debug)]
struct Logprobs {
    n: usize,
    logits: Vec<f32>,
    /// Logarithm of the sum of the exponentials.
    log_total: f32,
    top: Vec<Candidate>,
}

impl Logprobs {
    fn new(n: usize, vocab: usize) -> Result<Self, SampleError> {
        let n = n.min(vocab);
        let top = reserved(if n == 0 { 0 } else { chain::top_space(n, vocab) })?;
        Ok(Self { n, logits: reserved(vocab)?, log_total: 0.0, top })
    }

    fn measure(&mut self, logits: &[f32], max: f32) {
        self.logits.clear();
        self.logits.extend_from_slice(logits);
        let total: f64 = logits.iter().map(|&logit| f64::from(libm::expf(logit - max))).sum();
        self.log_total = (f64::from(max) + libm::log(total)) as f32;
        if self.n > 0 {
            chain::keep_top(logits, self.n, &mut self.top);
        }
    }

    fn of(&self, id: u32) -> Option<f32> {
        self.logits.get(id as usize).map(|logit| logit - self.log_total)
    }
}

/// Why no token could be chosen.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SampleError {
    /// An option has a value outside its range.
    Option {
        /// Which option.
        name: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What it was set to.
        found: f32,
    },
    /// A logit bias for a token that does not exist.
    TokenId {
        /// The token.
        id: u32,
        /// Tokens in the vocabulary.
        vocab: usize,
    },
    /// Not one logit per token of the vocabulary.
    Length {
        /// Tokens in the vocabulary.
        expected: usize,
        /// Logits given.
        found: usize,
    },
    /// A logit is infinite or not a number: the weights are damaged, or a device computes wrongly.
    NotFinite {
        /// The first such token.
        id: u32,
        /// Its logit.
        found: f32,
    },
    /// Every token is banned.
    NothingLeft,
    /// Working space was refused.
    OutOfMemory,
}

impl fmt::Display for SampleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option { name, expected, found } => {
                write!(f, "sampling: {name} is {found}, expected {expected}")
            }
            Self::TokenId { id, vocab } => {
                write!(f, "sampling: logit_bias names token {id}, expected less than {vocab}")
            }
            Self::Length { expected, found } => write!(f, "sampling: {found} logits, expected {expected}"),
            Self::NotFinite { id, found } => {
                write!(f, "sampling: the logit of token {id} is {found}, expected a number")
            }
            Self::NothingLeft => f.write_str("sampling: every token is banned"),
            Self::OutOfMemory => f.write_str("sampling: out of memory"),
        }
    }
}

impl core::error::Error for SampleError {}

fn checked(name: &'static str, found: f32, holds: bool, expected: &'static str) -> Result<(), SampleError> {
    if holds { Ok(()) } else { Err(SampleError::Option { name, expected, found }) }
}

fn reserved<T>(len: usize) -> Result<Vec<T>, SampleError> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(len).map_err(|_| SampleError::OutOfMemory)?;
    Ok(vec)
}

/// The last `n` of `ids`, or all.
fn last(ids: &[u32], n: usize) -> &[u32] {
    ids.get(ids.len().saturating_sub(n)..).unwrap_or(ids)
}

/// The first of the largest logits.
fn argmax(logits: &[f32]) -> Result<(u32, f32), SampleError> {
    const LANES: usize = 16;
    // Not a number stays in its lane once it is there.
    let larger = |max: f32, x: f32| if x > max || x.is_nan() { x } else { max };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for (max, &x) in lanes.iter_mut().zip(chunk) {
            *max = larger(*max, x);
        }
    }
    let max = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |max, &x| larger(max, x));
    if max == f32::NEG_INFINITY {
        return Err(SampleError::NothingLeft);
    }
    let wanted = |x: f32| {
        if max < f32::INFINITY { x == max } else { x.is_nan() || x == f32::INFINITY }
    };
    let (id, found) = logits.iter().copied().enumerate().find(|&(_, x)| wanted(x)).unwrap_or((0, max));
    let id = id as u32;
    if max < f32::INFINITY { Ok((id, found)) } else { Err(SampleError::NotFinite { id, found }) }
}
