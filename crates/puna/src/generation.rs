//! An answer as it comes: one token at a time, from a plain iterator or from a task.

use crate::error::{Error, ErrorKind, Lift};
use crate::token::{Text, Token};
use crate::turns::Expect;
use crate::{Sampling, Session};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::iter::FusedIterator;
use core::task::{Context, Poll};
use core::time::Duration;
use puna_core::Cancel;
use puna_llama::sample::{Sampler, StopStrings};
use puna_text::StreamDecoder;

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Finish {
    /// The model ended its turn.
    EndOfTurn,
    /// The model ended its message to wait for the result of a tool (Llama 4's `<|eom|>`).
    EndOfMessage,
    /// The number of tokens asked for was reached.
    MaxTokens,
    /// A stop string appeared.
    StopString,
    /// Somebody asked to stop.
    Cancelled,
    /// The session's context is full.
    ContextFull,
}

impl Finish {
    /// A short name for machines: `"end_of_turn"`, `"max_tokens"`, …
    pub const fn as_str(self) -> &'static str {
        match self {
            Finish::EndOfTurn => "end_of_turn",
            Finish::EndOfMessage => "end_of_message",
            Finish::MaxTokens => "max_tokens",
            Finish::StopString => "stop_string",
            Finish::Cancelled => "cancelled",
            Finish::ContextFull => "context_full",
        }
    }
}

/// How much was computed, and how long it took. Without `std` there is no clock, and times are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Tokens that were run through the model before the first one could be chosen.
    pub prompt_tokens: usize,
    /// Tokens chosen, the one that ends the answer included.
    pub generated_tokens: usize,
    /// Time until the first token could be chosen.
    pub prefill: Duration,
    /// Time from then on, without the time that the caller took between two tokens.
    pub decode: Duration,
}

/// An answer that is being generated.
///
/// It is an iterator over tokens, and does its work inside [`next`](Iterator::next); dropping it stops it, and the
/// session keeps what was generated. In a task, [`poll_token`](Generation::poll_token) does a bounded piece of work at a
/// time.
///
/// ```
/// # let model = puna::Model::from_bytes(puna::tiny::gguf(7)?, &puna::LoadOptions::default().threads(1))?;
/// # let mut session = model.session(&puna::SessionOptions::default())?;
/// use puna::{Finish, Sampling};
///
/// session.push_text("Once upon a time")?;
/// let mut answer = session.generate(&Sampling::default().temperature(0.8).seed(1)).max_tokens(16);
/// let stop = answer.cancel_handle(); // can be given to another thread
/// let mut n = 0;
/// while let Some(token) = answer.next() {
///     print!("{}", token?.text());
///     n += 1;
///     if n == 10 {
///         stop.cancel();
///     }
/// }
/// assert_eq!((n, answer.finish()), (10, Some(Finish::Cancelled)));
/// # Ok::<(), puna::Error>(())
/// ```
#[must_use = "nothing is computed until tokens are asked for"]
pub struct Generation<'s> {
    session: &'s mut Session,
    cancel: Cancel,
    max_tokens: Option<usize>,
    ignore_end: bool,
    /// `None` when it could not be made; then `failed` says why, until it is asked for.
    sampler: Option<Sampler>,
    failed: Option<Error>,
    decoder: StreamDecoder,
    stops: StopStrings,
    generated: usize,
    finish: Option<Finish>,
    over: bool,
    stats: Stats,
}

/// What one piece of work led to.
enum Step {
    /// A batch of the prompt is done.
    Batch,
    Token(Token),
    Over,
}

impl<'s> Generation<'s> {
    pub(crate) fn new(session: &'s mut Session, sampling: &Sampling) -> Self {
        let vocab = session.model.0.llama.config.vocab_size;
        let (sampler, failed) = match Sampler::new(sampling, vocab).lift() {
            Ok(sampler) => (Some(sampler), session.open_answer().err()),
            Err(e) => (None, Some(e)),
        };
        let stats = Stats { prompt_tokens: session.waiting(), ..Stats::default() };
        Generation {
            session,
            cancel: Cancel::new(),
            max_tokens: None,
            ignore_end: false,
            sampler,
            failed,
            decoder: StreamDecoder::new(),
            stops: StopStrings::default(),
            generated: 0,
            finish: None,
            over: false,
            stats,
        }
    }

    /// Stops after `n` tokens.
    pub fn max_tokens(mut self, n: usize) -> Self {
        self.max_tokens = Some(n);
        self
    }

    /// Stops when one of these texts appears; neither it nor anything after it is given out.
    pub fn stop_strings<S: Into<String>>(mut self, stops: impl IntoIterator<Item = S>) -> Self {
        self.stops = StopStrings::new(stops);
        self
    }

    /// Goes on after tokens that end an answer; they then come like any other.
    pub fn ignore_end(mut self) -> Self {
        self.ignore_end = true;
        self
    }

    /// Uses a flag of the caller's to stop, in place of one of its own.
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// A handle that stops this generation from anywhere, during the prompt too: between two layers.
    pub fn cancel_handle(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Why the generation ended; `None` while it has not, and after an error.
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// As [`Session::counters`], in the middle of an answer.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.session.counters()
    }

    /// How much has been computed so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Generates to the end and returns the whole text.
    ///
    /// # Errors
    /// As [`next`](Iterator::next). What was generated until then is in the session.
    pub fn text(&mut self) -> Result<String, Error> {
        let mut text = String::new();
        for token in self {
            text.push_str(token?.text());
        }
        Ok(text)
    }

    /// For tasks: does a piece of work, a batch of the prompt or one token, and says whether a token came of it.
    ///
    /// After a batch, the task is woken at once, so that others get their turn in between. No thread and no runtime is
    /// involved: the work is done in this call, which takes as long as [`SessionOptions::batch`] makes it.
    ///
    /// [`SessionOptions::batch`]: crate::SessionOptions::batch
    pub fn poll_token(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Token, Error>>> {
        match self.step() {
            Ok(Step::Token(token)) => Poll::Ready(Some(Ok(token))),
            Ok(Step::Over) => Poll::Ready(None),
            Ok(Step::Batch) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Err(e) => Poll::Ready(Some(Err(e))),
        }
    }

    fn step(&mut self) -> Result<Step, Error> {
        if let Some(e) = self.failed.take() {
            self.over = true;
            return Err(e);
        }
        if self.over {
            return Ok(Step::Over);
        }
        if self.generated > 0 && self.max_tokens.is_some_and(|max| self.generated >= max) {
            return Ok(self.end(Finish::MaxTokens));
        }
        let clock = Clock::start();
        let step = self.work();
        let time = clock.elapsed();
        match &step {
            Ok(Step::Batch) => self.stats.prefill += time,
            // The batch before the first token belongs to the prompt; choosing the token takes no time beside it.
            _ if self.generated <= 1 && self.stats.decode.is_zero() && self.stats.generated_tokens <= 1 => {
                self.stats.prefill += time;
            }
            _ => self.stats.decode += time,
        }
        step.or_else(|e| match e.kind() {
            ErrorKind::Cancelled => Ok(self.end(Finish::Cancelled)),
            _ => {
                self.over = true;
                Err(e)
            }
        })
    }

    fn end(&mut self, finish: Finish) -> Step {
        self.over = true;
        self.finish = Some(finish);
        let place = self.session.tokens().len();
        self.session.turns.mark(place);
        Step::Over
    }

    fn work(&mut self) -> Result<Step, Error> {
        if self.cancel.is_cancelled() {
            return Ok(self.end(Finish::Cancelled));
        }
        if self.session.feed_batch(&self.cancel)? {
            return Ok(Step::Batch);
        }
        if self.max_tokens == Some(0) {
            return Ok(self.end(Finish::MaxTokens));
        }
        if self.session.remaining() == 0 {
            return Ok(self.end(Finish::ContextFull));
        }
        let Some(sampler) = &mut self.sampler else { return Ok(self.end(Finish::Cancelled)) };
        if self.generated == 0 {
            self.session.reserve(self.max_tokens.unwrap_or(usize::MAX))?;
        }
        let sampled = self.session.sample(sampler, &self.cancel)?;
        // Of no entries, which is the rule, this makes no allocation.
        let top_logprobs: Vec<_> = sampler.top_logprobs().collect();
        let mut token = Token {
            id: sampled.id,
            is_end: false,
            logprob: sampled.logprob,
            text: Text::from(""),
            top_logprobs,
        };
        self.session.add(token.id);
        self.generated += 1;
        self.stats.generated_tokens += 1;
        self.take_text(&mut token);
        Ok(Step::Token(token))
    }

    /// Gives the token its text, and ends the generation if it was the last one.
    fn take_text(&mut self, token: &mut Token) {
        let inner = &self.session.model.0;
        if !self.ignore_end && inner.ends.binary_search(&token.id).is_ok() {
            token.is_end = true;
            let finish = self.end_kind(token.id);
            self.session.turns.expect = Expect::Turn;
            self.flush(token);
            self.end(finish);
            return;
        }
        #[cfg(feature = "tokenizer")]
        if let Some(tokenizer) = &inner.tokenizer
            && !tokenizer.is_special(token.id)
        {
            let text = self.decoder.push(tokenizer.token_bytes(token.id).unwrap_or_default());
            let passed = self.stops.push(text);
            token.text.push_str(passed.text);
            if passed.hit.is_some() {
                self.end(Finish::StopString);
                return;
            }
        }
        // No token follows the last one, so nothing is held back any more; the end itself is found at the next step.
        if self.max_tokens == Some(self.generated) || self.session.remaining() == 0 {
            self.flush(token);
        }
    }

    fn end_kind(&self, id: u32) -> Finish {
        #[cfg(feature = "tokenizer")]
        if let Some(tokenizer) = &self.session.model.0.tokenizer
            && tokenizer.special_id(puna_text::special::EOM) == Some(id)
        {
            return Finish::EndOfMessage;
        }
        let _ = id;
        Finish::EndOfTurn
    }

    /// Gives out what was held back: half a character, or the beginning of a stop string.
    fn flush(&mut self, token: &mut Token) {
        token.text.push_str(self.stops.push(self.decoder.flush()).text);
        token.text.push_str(self.stops.finish().text);
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Token, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Ok(Step::Token(token)) => return Some(Ok(token)),
                Ok(Step::Over) => return None,
                Ok(Step::Batch) => {}
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

impl FusedIterator for Generation<'_> {}

impl fmt::Debug for Generation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("Generation");
        s.field("generated", &self.generated).field("finish", &self.finish).finish_non_exhaustive()
    }
}

/// A stopwatch where there is a clock.
struct Clock(#[cfg(feature = "std")] std::time::Instant);

impl Clock {
    fn start() -> Self {
        Clock(
            #[cfg(feature = "std")]
            std::time::Instant::now(),
        )
    }

    fn elapsed(&self) -> Duration {
        #[cfg(feature = "std")]
        return self.0.elapsed();
        #[cfg(not(feature = "std"))]
        Duration::ZERO
    }
}
