//! One conversation: its tokens, its caches, and a device of its own that shares the model's weights.

use crate::forward::{Llama, Pass, State, StateOptions, Want};
use crate::kv::BLOCK_TOKENS;
use crate::sample::{TOP_LEN, Top};
use crate::vision::Embed;
use crate::{LlamaError, Result};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use puna_core::ops::TopK;
use puna_core::{Cancel, Device};

/// Tokens fed so far, and everything needed to go on from there.
///
/// After any error the session is as usable as before: [`tokens`](Self::tokens) says what it holds.
pub struct SessionState {
    model: Arc<Llama>,
    device: Box<dyn Device>,
    state: State,
    /// May be longer than the caches: after a truncation into a chunk that is no longer held, the tokens from the
    /// beginning of that chunk are computed again when they are next needed.
    tokens: Vec<u32>,
    /// The rows of images among the tokens, in order of position; forks share them.
    embeds: Vec<Embed>,
    /// Whether the state's logits are those of the last token.
    has_logits: bool,
}

impl SessionState {
    /// An empty session on a fork of the device that holds the model's weights.
    ///
    /// # Errors
    /// Out of memory; options out of range.
    pub fn new(
        model: Arc<Llama>,
        mut device: Box<dyn Device>,
        options: &StateOptions,
    ) -> Result<SessionState> {
        let state = State::new(&model, &mut *device, options)?;
        Ok(SessionState { model, device, state, tokens: Vec::new(), embeds: Vec::new(), has_logits: false })
    }

    /// The model.
    pub fn model(&self) -> &Llama {
        &self.model
    }

    /// The device.
    pub fn device(&self) -> &dyn Device {
        &*self.device
    }

    /// The device, to be measured. Ops issued to it are not the session's.
    pub fn device_mut(&mut self) -> &mut dyn Device {
        &mut *self.device
    }

    /// All tokens so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Most tokens.
    pub fn context(&self) -> usize {
        self.state.context()
    }

    /// Tokens that still fit.
    pub fn remaining(&self) -> usize {
        self.context().saturating_sub(self.len())
    }

    /// Bytes of cached keys and values.
    pub fn kv_bytes(&self) -> u64 {
        self.state.kv_bytes()
    }

    /// Adds tokens and returns the logits after the last one.
    ///
    /// # Errors
    /// No tokens, an id past the vocabulary, a full context, logits that are not finite: the session is as before.
    /// Cancelled, or a device that failed: the session holds the tokens of the batches that were done.
    pub fn feed(&mut self, tokens: &[u32], cancel: Option<&Cancel>) -> Result<&[f32]> {
        self.feed_with(tokens, &mut Pass { cancel, ..Pass::new(Want::Last(1)) })?;
        self.finite_logits(self.tokens.len() - tokens.len())
    }

    /// Adds one token and returns the logits after it. Allocates only when a cache block is added.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    pub fn decode(&mut self, token: u32) -> Result<&[f32]> {
        self.feed(&[token], None)
    }

    /// Adds tokens with a pass of the caller's: logits of many rows, hidden states, progress, rows of images. Tokens that
    /// were still to be computed again come first, without logits, and count in the progress.
    ///
    /// The pass's [`embeds`](Pass::embeds) must lie among the new tokens, in order. The session keeps them as it keeps
    /// tokens.
    ///
    /// # Errors
    /// As [`feed`](Self::feed), but logits are not looked at; [`LlamaError::Image`] for rows out of place.
    pub fn feed_with(&mut self, tokens: &[u32], pass: &mut Pass<'_>) -> Result<()> {
        let (before, limit) = (self.tokens.len(), self.context());
        if tokens.is_empty() {
            return Err(LlamaError::EmptyPrompt);
        }
        if tokens.len() > self.remaining() {
            return Err(LlamaError::ContextFull { limit, used: before, adding: tokens.len() });
        }
        let vocab_size = self.model.config.vocab_size;
        if let Some((index, &token)) = tokens.iter().enumerate().find(|&(_, &t)| t as usize >= vocab_size) {
            return Err(LlamaError::TokenRange { index, token, vocab_size });
        }
        self.check_embeds(pass.embeds, tokens.len())?;
        self.reserve(tokens.len())?;
        self.embeds
            .try_reserve(pass.embeds.len())
            .map_err(|_| LlamaError::out_of_memory::<Embed>(pass.embeds.len()))?;
        self.embeds.extend_from_slice(pass.embeds);
        self.tokens.extend_from_slice(tokens);
        let want = pass.want;
        pass.want = Want::Last(want.rows(tokens.len()));
        self.has_logits = false;
        let result = self.catch_up(pass);
        pass.want = want;
        if result.is_err() {
            self.forget(before.max(self.state.len() as usize));
        }
        self.has_logits = result.is_ok() && want.rows(tokens.len()) > 0;
        result
    }

    /// Logits after the last token, computed again if a truncation or a pass without logits left none.
    ///
    /// # Errors
    /// [`LlamaError::EmptyPrompt`] when there is no token; cancelled, or a device that failed.
    pub fn logits(&mut self, cancel: Option<&Cancel>) -> Result<&[f32]> {
        self.find_logits(cancel)?;
        self.finite_logits(self.tokens.len())
    }

    /// Sees to it that the state has the logits of the last token.
    fn find_logits(&mut self, cancel: Option<&Cancel>) -> Result<()> {
        let n = self.tokens.len();
        if n == 0 {
            return Err(LlamaError::EmptyPrompt);
        }
        if !self.has_logits {
            self.state.truncate(n as u64 - 1);
            self.catch_up(&mut Pass { cancel, ..Pass::new(Want::Last(1)) })?;
            self.has_logits = true;
        }
        Ok(())
    }

    /// The `k` most likely tokens after the last one, if the device is [far](Device::far) and has the logits still: then
    /// these few numbers are read instead of all of them. A sampler that cannot do with them asks for all afterwards.
    ///
    /// # Errors
    /// As [`logits`](Self::logits).
    pub fn top<'a>(
        &mut self,
        k: usize,
        cancel: Option<&Cancel>,
        into: &'a mut [f32; TOP_LEN],
    ) -> Result<Option<Top<'a>>> {
        if k > TopK::MOST {
            return Ok(None);
        }
        self.find_logits(cancel)?;
        let top = self.state.top(&mut *self.device, k.min(self.model.config.vocab_size), into)?;
        match top {
            Some(top) if !top.is_finite() => Err(self.not_finite(self.tokens.len())),
            top => Ok(top),
        }
    }

    /// Forgets all tokens but the first `n`. Exact: what follows is as if the others had never been fed.
    ///
    /// Within the current chunk this costs nothing; before it, the tokens from the beginning of the chunk in which `n` lies
    /// are computed again when the session is next used.
    pub fn truncate(&mut self, n: usize) {
        if n < self.tokens.len() {
            self.forget(n);
            self.state.truncate(n as u64);
            self.has_logits = false;
        }
    }

    /// An independent session that has seen the same tokens. Cached keys and values are shared until one side writes.
    ///
    /// # Errors
    /// Out of memory.
    pub fn fork(&self) -> Result<SessionState> {
        let mut tokens = crate::error::with_capacity(self.tokens.capacity())?;
        tokens.extend_from_slice(&self.tokens);
        Ok(SessionState {
            model: self.model.clone(),
            device: self.device.fork()?,
            state: self.state.clone(),
            tokens,
            embeds: self.embeds.clone(),
            has_logits: self.has_logits,
        })
    }

    /// Runs the tokens that the caches do not hold yet.
    fn catch_up(&mut self, pass: &mut Pass<'_>) -> Result<()> {
        let cached = usize::try_from(self.state.len()).unwrap_or(usize::MAX);
        let pending = self.tokens.get(cached..).unwrap_or_default();
        // The caller's are among the session's by now, and those of tokens computed again are there too.
        let Pass { want, cancel, .. } = *pass;
        let mut all = Pass { embeds: &self.embeds, cancel, ..Pass::new(want) };
        // Written out, since only a reference to a closure can be lent for a shorter time, not an option of one.
        if let Some(logits) = &mut pass.logits {
            all.logits = Some(&mut **logits);
        }
        if let Some(hidden) = &mut pass.hidden {
            all.hidden = Some(&mut **hidden);
        }
        if let Some(progress) = &mut pass.progress {
            all.progress = Some(&mut **progress);
        }
        self.model.forward(&mut *self.device, &mut self.state, pending, &mut all)
    }

    /// New rows lie among `n` new tokens, in order, and are all there.
    fn check_embeds(&self, embeds: &[Embed], n: usize) -> Result<()> {
        let mut free = self.tokens.len() as u64;
        let end = free.saturating_add(n as u64);
        for embed in embeds {
            let rows = embed.first.checked_add(embed.n);
            if embed.at < free || embed.end() > end || rows.is_none_or(|rows| rows > embed.features.n_rows())
            {
                let expected = alloc::format!("rows in order at positions {free} to {end}");
                let found = alloc::format!("{} at position {}", embed.n, embed.at);
                return Err(LlamaError::image("place of image features", expected, found));
            }
            free = embed.end();
        }
        self.model.check_embeds(embeds)
    }

    /// Forgets tokens and rows of images from position `n` on, but not what is cached.
    fn forget(&mut self, n: usize) {
        self.tokens.truncate(n);
        let end = n as u64;
        self.embeds.retain_mut(|embed| {
            embed.n = embed.n.min(usize::try_from(end.saturating_sub(embed.at)).unwrap_or(usize::MAX));
            embed.n > 0
        });
    }

    /// The logits, or an error after which the session holds `keep` tokens.
    fn finite_logits(&mut self, keep: usize) -> Result<&[f32]> {
        if self.state.logits(&mut *self.device)?.iter().all(|v| v.is_finite()) {
            return self.state.logits(&mut *self.device);
        }
        Err(self.not_finite(keep))
    }

    /// Forgets all tokens but the first `keep`, because those after them gave logits that are not finite.
    fn not_finite(&mut self, keep: usize) -> LlamaError {
        let position = self.tokens.len().saturating_sub(1) as u64;
        self.has_logits = false;
        self.truncate(keep);
        LlamaError::NonFinite { position }
    }

    /// Room for `n` more tokens, in whole cache blocks: so a decode step allocates only where the caches do too.
    fn reserve(&mut self, n: usize) -> Result<()> {
        let needed = self.tokens.len().saturating_add(n);
        let capacity = self.tokens.capacity();
        if needed > capacity {
            let target = needed.max(capacity.saturating_mul(2)).next_multiple_of(BLOCK_TOKENS);
            let more = target - self.tokens.len();
            self.tokens.try_reserve_exact(more).map_err(|_| LlamaError::out_of_memory::<u32>(target))?;
        }
        Ok(())
    }
}
