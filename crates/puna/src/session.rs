//! One conversation: its tokens, its caches, and the way from messages to logits.

#[cfg(feature = "tokenizer")]
use crate::Message;
use crate::error::{Error, ErrorKind, Lift};
use crate::images::{Eyes, Images};
use crate::options::{KvType, ProgressFn, PromptFormat};
use crate::turns::{Expect, Turns};
use crate::{Generation, Model, Phase, Progress, Sampling, SessionOptions};
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::ops::ControlFlow;
use puna_core::{Cancel, Elem};
use puna_llama::sample::{Sampled, Sampler, TOP_LEN};
use puna_llama::{Config, LlamaError, Pass, SessionState, StateOptions, Want};

/// Tokens held at most where neither the caller nor the model says less.
const DEFAULT_CONTEXT: usize = 8192;
/// Tokens of a prompt computed at once by default.
const DEFAULT_BATCH: usize = 512;

/// A conversation with a model.
///
/// Messages and texts that are pushed wait until they are needed: [`generate`](Session::generate) runs them through the
/// model, in batches, with progress, and can be cancelled. Whatever happens, an error or a cancelled call leaves a
/// session that can go on; [`tokens`](Session::tokens) says what it holds.
///
/// ```
/// # let model = puna::Model::from_bytes(puna::tiny::gguf(7)?, &puna::LoadOptions::default().threads(1))?;
/// use puna::{Message, Sampling, SessionOptions};
///
/// let mut chat = model.session(&SessionOptions::default())?;
/// chat.push(&[Message::system("Be brief."), Message::user("Hello!")])?;
/// let before = chat.tokens().len();
/// let answer = chat.generate(&Sampling::default()).max_tokens(8).text()?;
/// chat.truncate(before); // as if it had not answered
/// assert_eq!(chat.generate(&Sampling::default()).max_tokens(8).text()?, answer);
/// # Ok::<(), puna::Error>(())
/// ```
pub struct Session {
    pub(crate) model: Model,
    pub(crate) state: SessionState,
    /// All tokens: those in `state`, then those that wait.
    pub(crate) tokens: Vec<u32>,
    pub(crate) turns: Turns,
    pub(crate) images: Images,
    format: PromptFormat,
    batch: usize,
    progress: Option<ProgressFn>,
    /// Whether a prompt of several batches is under way.
    prefilling: bool,
    /// The sampler's working copy of the logits.
    logits: Vec<f32>,
}

impl Session {
    pub(crate) fn new(model: &Model, options: &SessionOptions) -> Result<Self, Error> {
        let inner = &model.0;
        let state_options = state_options(&inner.llama.config, options);
        let device = inner.device.fork().lift()?;
        let state = SessionState::new(inner.llama.clone(), device, &state_options);
        // What is out of range here is an option of the caller's, not something in a file.
        let state = state.map_err(|e| match e {
            LlamaError::Config { .. } => Error::input(e),
            e => Error::of(e),
        })?;
        let mut logits = Vec::new();
        let vocab = inner.llama.config.vocab_size;
        let refused = |_| {
            Error::new(ErrorKind::OutOfMemory, format_args!("{} bytes of memory were refused", vocab * 4))
        };
        logits.try_reserve_exact(vocab).map_err(refused)?;
        Ok(Session {
            model: model.clone(),
            state,
            tokens: Vec::new(),
            turns: Turns::default(),
            images: Images::default(),
            format: options.prompt.unwrap_or_else(|| model.prompt_format()),
            batch: state_options.batch,
            progress: options.progress.clone(),
            prefilling: false,
            logits,
        })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// All tokens so far: pushed, generated, and those of the prompt format.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The most tokens the session can hold.
    pub fn context(&self) -> usize {
        self.state.context()
    }

    /// Tokens that still fit.
    pub fn remaining(&self) -> usize {
        self.context().saturating_sub(self.tokens.len())
    }

    /// Bytes of cached keys and values now.
    pub fn kv_bytes(&self) -> u64 {
        self.state.kv_bytes()
    }

    /// Adds messages to the conversation.
    ///
    /// An answer that was cut short is closed first. The opening of the next answer is added by
    /// [`generate`](Session::generate). With a template, the whole conversation is rendered anew and what it has in
    /// common with the session's tokens is kept; nothing may have been pushed but messages then.
    ///
    /// # Errors
    /// [`ErrorKind::ContextFull`] when they do not fit; a model without a tokenizer or template; a template that refuses
    /// the conversation. Nothing is added then.
    #[cfg(feature = "tokenizer")]
    pub fn push(&mut self, messages: &[Message]) -> Result<(), Error> {
        if messages.is_empty() {
            return Ok(());
        }
        match self.format {
            PromptFormat::Llama4 => self.push_llama4(messages),
            PromptFormat::Template => self.push_template(messages),
        }
    }

    #[cfg(feature = "tokenizer")]
    fn push_llama4(&mut self, messages: &[Message]) -> Result<(), Error> {
        let tokenizer = self.model.tokenizer()?;
        let mut ids = Vec::new();
        if self.turns.expect == Expect::MoreAnswer {
            let eot = puna_text::special::EOT;
            let missing =
                || Error::unsupported(format_args!("prompt format: the vocabulary has no token {eot}"));
            ids.push(tokenizer.special_id(eot).ok_or_else(missing)?);
        }
        let first = self.tokens.is_empty();
        let (messages, images) = self.model.see(messages)?;
        ids.extend(crate::chat::llama4(tokenizer, &messages, first, false)?);
        self.reserve_more(ids.len())?;
        self.place(&ids, &images)?;
        self.append(&ids)?;
        (self.turns.expect, self.turns.answer) = (Expect::Answer, None);
        self.turns.mark(self.tokens.len());
        Ok(())
    }

    #[cfg(all(feature = "tokenizer", not(feature = "template")))]
    fn push_template(&mut self, _messages: &[Message]) -> Result<(), Error> {
        Err(Error::unsupported("chat templates need the feature \"template\""))
    }

    #[cfg(feature = "template")]
    fn push_template(&mut self, messages: &[Message]) -> Result<(), Error> {
        let mut turns = self.turns.clone();
        if let Some(start) = turns.answer.take() {
            let answer = self.model.decode(self.tokens.get(start..).unwrap_or_default())?;
            turns.messages.push(Message::assistant(answer));
            turns.mark(self.tokens.len());
        }
        if messages.iter().flat_map(|m| &m.content).any(|part| matches!(part, crate::Part::Picture(_))) {
            let message =
                "images: a model's own template cannot place them; use the prompt format of Llama 4";
            return Err(Error::unsupported(message));
        }
        turns.messages.extend_from_slice(messages);
        turns.expect = Expect::Answer;
        // Many templates refuse a conversation that does not end with somebody to answer; that can still come.
        if messages.last().is_some_and(|m| matches!(m.role, crate::Role::User | crate::Role::Tool)) {
            self.render(&turns.messages)?;
        }
        turns.mark(self.tokens.len());
        self.turns = turns;
        Ok(())
    }

    /// Makes the tokens those of these messages and the opening of an answer.
    #[cfg(feature = "template")]
    fn render(&mut self, messages: &[Message]) -> Result<(), Error> {
        let missing = "the model's file has no chat template, and it is no Llama 4: push texts or tokens";
        let template = self.model.0.template.as_ref().ok_or_else(|| Error::unsupported(missing))?;
        let ids = template.encode(self.model.tokenizer()?, messages)?;
        self.check_tokens(&ids, 0)?;
        let common = self.tokens.iter().zip(&ids).take_while(|(a, b)| a == b).count();
        self.cut(common);
        self.append(ids.get(common..).unwrap_or_default())
    }

    /// Adds text as it is, after BOS if it is the first and the model expects one. Special tokens that are spelled out in
    /// it are read as text.
    ///
    /// # Errors
    /// [`ErrorKind::ContextFull`] when it does not fit; a model without a tokenizer. Nothing is added then.
    #[cfg(feature = "tokenizer")]
    pub fn push_text(&mut self, text: &str) -> Result<(), Error> {
        let mut ids = Vec::new();
        if self.tokens.is_empty() {
            ids.extend(self.model.bos());
        }
        let tokenizer = self.model.tokenizer()?;
        tokenizer.encode_into(text, puna_text::Special::AsText, &mut ids).lift()?;
        self.push_tokens(&ids)
    }

    /// Adds tokens as they are.
    ///
    /// # Errors
    /// [`ErrorKind::ContextFull`] when they do not fit, [`ErrorKind::BadInput`] for an id past the vocabulary. Nothing is
    /// added then.
    pub fn push_tokens(&mut self, ids: &[u32]) -> Result<(), Error> {
        self.check_tokens(ids, self.tokens.len())?;
        self.append(ids)
    }

    pub(crate) fn check_tokens(&self, ids: &[u32], used: usize) -> Result<(), Error> {
        let vocab_size = self.model.0.llama.config.vocab_size;
        if let Some((index, &token)) = ids.iter().enumerate().find(|&(_, &id)| id as usize >= vocab_size) {
            return Err(LlamaError::TokenRange { index, token, vocab_size }).lift();
        }
        let (limit, adding) = (self.context(), ids.len());
        if adding > limit.saturating_sub(used) {
            return Err(LlamaError::ContextFull { limit, used, adding }).lift();
        }
        Ok(())
    }

    pub(crate) fn append(&mut self, ids: &[u32]) -> Result<(), Error> {
        self.reserve_more(ids.len())?;
        self.tokens.extend_from_slice(ids);
        Ok(())
    }

    /// Makes room for `n` more tokens.
    pub(crate) fn reserve_more(&mut self, n: usize) -> Result<(), Error> {
        let bytes = n.saturating_mul(4);
        let refused =
            |_| Error::new(ErrorKind::OutOfMemory, format_args!("{bytes} bytes of memory were refused"));
        self.tokens.try_reserve(n).map_err(refused)
    }

    /// Adds a generated token. There is room for it: see [`reserve`](Self::reserve).
    pub(crate) fn add(&mut self, id: u32) {
        self.tokens.push(id);
    }

    /// Makes room for the tokens of a generation, so that none of them allocates.
    pub(crate) fn reserve(&mut self, n: usize) -> Result<(), Error> {
        self.reserve_more(n.min(self.remaining()))
    }

    /// Generates an answer, or goes on with the text. Nothing is computed until the first token is asked for.
    pub fn generate(&mut self, sampling: &Sampling) -> Generation<'_> {
        Generation::new(self, sampling)
    }

    /// Adds the opening of an answer if messages wait for one.
    pub(crate) fn open_answer(&mut self) -> Result<(), Error> {
        if self.turns.expect == Expect::Answer {
            #[cfg(feature = "tokenizer")]
            match self.format {
                PromptFormat::Llama4 => {
                    let ids = crate::chat::llama4(self.model.tokenizer()?, &[], false, true)?;
                    self.push_tokens(&ids)?;
                }
                #[cfg(feature = "template")]
                PromptFormat::Template => {
                    let messages = core::mem::take(&mut self.turns.messages);
                    let done = self.render(&messages);
                    self.turns.messages = messages;
                    done?;
                }
                #[cfg(not(feature = "template"))]
                PromptFormat::Template => {}
            }
            self.turns.expect = Expect::MoreAnswer;
            self.turns.answer = Some(self.tokens.len());
        }
        Ok(())
    }

    /// Runs everything that waits through the model, so that the next generation begins at once.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`]: what was done stays done, the rest waits on. [`ErrorKind::Device`] and
    /// [`ErrorKind::OutOfMemory`] likewise.
    pub fn prefill(&mut self, cancel: &Cancel) -> Result<(), Error> {
        while self.feed_batch(cancel)? {}
        Ok(())
    }

    /// Tokens that wait to be run through the model.
    pub(crate) fn waiting(&self) -> usize {
        self.tokens.len().saturating_sub(self.state.len())
    }

    /// Feeds the next batch of what waits; `false` when nothing waits any more.
    pub(crate) fn feed_batch(&mut self, cancel: &Cancel) -> Result<bool, Error> {
        let (done, total) = (self.state.len(), self.tokens.len());
        let waiting = self.tokens.get(done..).unwrap_or_default();
        let n = waiting.len().min(self.batch);
        if n == 0 {
            return Ok(false);
        }
        let want = if n == waiting.len() { Want::Last(1) } else { Want::Nothing };
        let eyes = eyes(&self.model, cancel, self.progress.as_ref());
        let embeds = self.images.embeds(done, done + n, eyes)?;
        let pass = &mut Pass { cancel: Some(cancel), embeds: &embeds, ..Pass::new(want) };
        self.state.feed_with(waiting.get(..n).unwrap_or_default(), pass).lift()?;
        self.images.fed(done + n);
        // One token is a step of decoding: nobody needs to hear of it, unless a prompt ends with it.
        let prompt = self.prefilling || total - done > 1;
        self.prefilling = done + n < total;
        if let Some(progress) = self.progress.as_ref().filter(|_| prompt) {
            progress(Progress::new(Phase::Prefill, (done + n) as u64, total as u64));
        }
        Ok(done + n < total)
    }

    /// The logits after the last token, one for each token of the vocabulary. What waits is run through the model first.
    ///
    /// # Errors
    /// No tokens; and as [`prefill`](Session::prefill).
    pub fn logits(&mut self, cancel: &Cancel) -> Result<&[f32], Error> {
        self.prefill(cancel)?;
        self.state.logits(Some(cancel)).lift()
    }

    /// Chooses the next token: from the most likely ones, where reading all logits would cost time and the sampler can
    /// do with these; else from a copy of all logits, in which it may work.
    pub(crate) fn sample(&mut self, sampler: &mut Sampler, cancel: &Cancel) -> Result<Sampled, Error> {
        if let Some(k) = sampler.top() {
            let mut space = [0.0; TOP_LEN];
            if let Some(top) = self.state.top(k, Some(cancel), &mut space).lift()?
                && let Some(sampled) = sampler.sample_top(&top).lift()?
            {
                return Ok(sampled);
            }
        }
        let logits = self.state.logits(Some(cancel)).lift()?;
        self.logits.clear();
        self.logits.extend_from_slice(logits);
        sampler.sample(&mut self.logits, &self.tokens).lift()
    }

    /// Adds tokens and hands the logits after each of them to `see`, with the token's place in the session: what scoring
    /// and perplexity need. [`ControlFlow::Break`] ends it, with those tokens in the session whose batches were done.
    ///
    /// # Errors
    /// As [`push_tokens`](Session::push_tokens) and [`prefill`](Session::prefill).
    ///
    /// ```
    /// # let model = puna::Model::from_bytes(puna::tiny::gguf(7)?, &puna::LoadOptions::default().threads(1))?;
    /// # let mut session = model.session(&puna::SessionOptions::default())?;
    /// let mut best = Vec::new();
    /// session.score(&[1, 2, 3], &puna::Cancel::new(), |_place, logits| {
    ///     best.push(logits.iter().copied().fold(f32::MIN, f32::max));
    ///     core::ops::ControlFlow::Continue(())
    /// })?;
    /// assert_eq!(best.len(), 3);
    /// # Ok::<(), puna::Error>(())
    /// ```
    pub fn score(
        &mut self,
        ids: &[u32],
        cancel: &Cancel,
        mut see: impl FnMut(usize, &[f32]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.observe(ids, cancel, Some(&mut see), None)
    }

    /// [`score`](Session::score), with the residual stream after each layer too: layer, place of the first row, rows.
    #[doc(hidden)]
    pub fn observe(
        &mut self,
        ids: &[u32],
        cancel: &Cancel,
        mut logits: Option<LogitsFn<'_>>,
        mut hidden: Option<HiddenFn<'_>>,
    ) -> Result<(), Error> {
        self.prefill(cancel)?;
        self.check_tokens(ids, self.tokens.len())?;
        let stopped = Cell::new(false);
        let flow = |flow: ControlFlow<()>| match flow {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                stopped.set(true);
                Err(LlamaError::Cancelled)
            }
        };
        for batch in ids.chunks(self.batch) {
            let want = if logits.is_some() { Want::All } else { Want::Nothing };
            let mut pass = Pass { cancel: Some(cancel), ..Pass::new(want) };
            let mut see_logits;
            if let Some(see) = &mut logits {
                see_logits = |place: u64, row: &[f32]| flow(see(place as usize, row));
                pass.logits = Some(&mut see_logits);
            }
            let mut see_hidden;
            if let Some(see) = &mut hidden {
                see_hidden = |layer: usize, place: u64, rows: &[f32]| flow(see(layer, place as usize, rows));
                pass.hidden = Some(&mut see_hidden);
            }
            let known = self.tokens.len();
            let eyes = eyes(&self.model, cancel, self.progress.as_ref());
            let embeds = self.images.embeds(known, known + batch.len(), eyes)?;
            pass.embeds = &embeds;
            let done = self.state.feed_with(batch, &mut pass);
            let fed = self.state.len().saturating_sub(known);
            self.append(batch.get(..fed).unwrap_or_default())?;
            self.images.fed(known + fed);
            if stopped.get() {
                return Ok(());
            }
            done.lift()?;
        }
        Ok(())
    }

    /// Forgets all tokens but the first `n`. Exact: what follows is as if the others had never been there.
    ///
    /// A conversation goes back to where it was when it had `n` tokens, if that was between two messages or answers.
    pub fn truncate(&mut self, n: usize) {
        if n < self.tokens.len() {
            self.cut(n);
            self.turns.truncate(n);
        }
    }

    fn cut(&mut self, n: usize) {
        self.tokens.truncate(n);
        self.images.cut(n);
        self.state.truncate(n);
    }

    /// An independent session that has seen the same tokens. Cached keys and values are shared until one side changes
    /// them, so a long common beginning is computed and held once.
    ///
    /// # Errors
    /// Refused memory.
    pub fn fork(&self) -> Result<Session, Error> {
        let mut logits = Vec::new();
        let refused = |_| Error::new(ErrorKind::OutOfMemory, "memory was refused");
        logits.try_reserve_exact(self.logits.capacity()).map_err(refused)?;
        Ok(Session {
            model: self.model.clone(),
            state: self.state.fork().lift()?,
            tokens: self.tokens.clone(),
            turns: self.turns.clone(),
            images: self.images.clone(),
            format: self.format,
            batch: self.batch,
            progress: self.progress.clone(),
            prefilling: self.prefilling,
            logits,
        })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("tokens", &self.tokens.len())
            .field("context", &self.context())
            .finish_non_exhaustive()
    }
}

/// What looks at the images of a session of this model.
fn eyes<'a>(model: &'a Model, cancel: &'a Cancel, progress: Option<&'a ProgressFn>) -> Eyes<'a> {
    Eyes { vision: model.0.vision.as_ref(), device: &*model.0.device, cancel, progress }
}

/// Sees the place of a token and the logits after it.
type LogitsFn<'a> = &'a mut dyn FnMut(usize, &[f32]) -> ControlFlow<()>;
/// Sees a layer, the place of the first row, and rows of the residual stream.
type HiddenFn<'a> = &'a mut dyn FnMut(usize, usize, &[f32]) -> ControlFlow<()>;

/// What a session's state is made of.
pub(crate) fn state_options(config: &Config, options: &SessionOptions) -> StateOptions {
    StateOptions {
        context: Some(options.context.unwrap_or(config.context_length.min(DEFAULT_CONTEXT))),
        batch: options.batch.unwrap_or(DEFAULT_BATCH),
        kv: match options.kv.unwrap_or_default() {
            KvType::F16 => Elem::F16,
            KvType::F32 => Elem::F32,
        },
    }
}
