//! The forward pass: tokens in, logits out, one layer on one screen.

mod attention;
mod dense;
mod head;
mod moe;
mod state;

pub use state::{HiddenSink, LogitSink, Pass, State, StateOptions, Want};

use crate::vision::Embed;
use crate::weights::{Ffn, LayerWeights, LoadWatch, Names, TensorSource, Weights};
use crate::{Config, LayerKind, LayerTable, LlamaError, Placement, Result};
use puna_core::ops::{CopyRows, EmbedRows, RmsNorm};
use puna_core::{Device, DeviceError, Op, Place, Rows, Vector};

/// A model whose weights are on a device. It holds no state; forks of that device share it.
#[derive(Clone, Debug)]
pub struct Llama {
    /// What the model is. Where the tensors knew better than the file's configuration, it says what they say.
    pub config: Config,
    /// What every layer is.
    pub layers: LayerTable,
    /// Where it is on the device.
    pub placement: Placement,
    /// The matrices.
    pub weights: Weights,
}

/// Rows of one batch, as one layer sees them.
#[derive(Clone, Copy, Debug)]
struct Batch {
    /// Absolute position of the first row.
    pos: u64,
    /// Rows.
    n: usize,
    /// Of them, how many at the end are wanted after the last layer.
    wanted: usize,
}

impl Llama {
    /// Binds the tensors of a file to a device.
    ///
    /// # Errors
    /// A tensor that is missing or of another shape than `config` says, values that are not finite where they must be,
    /// a cancelled load, a device that refuses.
    pub fn load(
        config: Config,
        tensors: &dyn TensorSource,
        device: &mut dyn Device,
        watch: &mut LoadWatch<'_>,
    ) -> Result<Llama> {
        Self::load_placed(config, tensors, device, &Placement::default(), watch)
    }

    /// As [`load`](Self::load), with groups of weights at several places of the device.
    ///
    /// # Errors
    /// As [`load`](Self::load); a place that the device does not have.
    pub fn load_placed(
        mut config: Config,
        tensors: &dyn TensorSource,
        device: &mut dyn Device,
        placement: &Placement,
        watch: &mut LoadWatch<'_>,
    ) -> Result<Llama> {
        config.validate()?;
        let mut placement = placement.clone();
        if config.tied_embeddings {
            placement.embed = placement.head;
        }
        let names = Names::detect(config.architecture, tensors)?;
        let layers = LayerTable::new(&config, &names, tensors)?;
        let weights = Weights::bind(&mut config, &layers, &names, tensors, device, &placement, watch)?;
        config.moe_layers = layers.iter().map(|layer| layer.moe).collect();
        if !config.moe_layers.contains(&true) {
            (config.n_experts, config.n_experts_used, config.ff_expert, config.ff_shared) = (0, 0, 0, 0);
        }
        Ok(Llama { config, layers, placement, weights })
    }

    /// Runs `tokens` at the positions that follow what `state` holds, in batches that end at chunk boundaries.
    ///
    /// # Errors
    /// An empty list, an id past the vocabulary, a full context: nothing was fed. Cancelled, or a device that failed:
    /// the batches before are fed, and `state.len()` tells how far they go.
    pub fn forward(
        &self,
        device: &mut dyn Device,
        state: &mut State,
        tokens: &[u32],
        pass: &mut Pass<'_>,
    ) -> Result<()> {
        self.check(state, tokens)?;
        self.check_embeds(pass.embeds)?;
        let first_wanted = tokens.len() - pass.want.rows(tokens.len());
        let mut done = 0;
        while let Some(rest) = tokens.get(done..).filter(|rest| !rest.is_empty()) {
            let pos = state.len();
            let n = self.batch_len(pos, rest.len().min(state.batch()));
            let wanted = (done + n).saturating_sub(first_wanted.max(done));
            let batch = Batch { pos, n, wanted };
            state.kv.reserve(device, n)?;
            self.batch(device, state, rest.get(..n).unwrap_or(rest), batch, pass)?;
            state.kv.advance(n);
            done += n;
            if let Some(progress) = &mut pass.progress {
                progress(done, tokens.len());
            }
        }
        Ok(())
    }

    fn check(&self, state: &State, tokens: &[u32]) -> Result<()> {
        if tokens.is_empty() {
            return Err(LlamaError::EmptyPrompt);
        }
        let vocab_size = self.config.vocab_size;
        if let Some((index, &token)) = tokens.iter().enumerate().find(|&(_, &t)| t as usize >= vocab_size) {
            return Err(LlamaError::TokenRange { index, token, vocab_size });
        }
        let (limit, used, adding) = (state.context(), state.len() as usize, tokens.len());
        match adding > limit.saturating_sub(used) {
            true => Err(LlamaError::ContextFull { limit, used, adding }),
            false => Ok(()),
        }
    }

    pub(crate) fn check_embeds(&self, embeds: &[Embed]) -> Result<()> {
        let hidden = self.config.hidden;
        match embeds.iter().find(|embed| embed.features.width() != hidden) {
            Some(embed) => {
                let expected = alloc::format!("{hidden} values a row, the text model's width");
                Err(LlamaError::image("image features", expected, embed.features.width()))
            }
            None => Ok(()),
        }
    }

    /// At most `most` rows from `pos` on, none of them past the end of a chunk.
    fn batch_len(&self, pos: u64, most: usize) -> usize {
        match self.layers.chunk() {
            Some(chunk) => most.min(usize::try_from(chunk - pos % chunk).unwrap_or(most)),
            None => most,
        }
    }

    fn batch(
        &self,
        device: &mut dyn Device,
        state: &mut State,
        tokens: &[u32],
        batch: Batch,
        pass: &mut Pass<'_>,
    ) -> Result<()> {
        let mut here = self.placement.embed;
        let mut h = state.scratch(here)?.h(batch.n);
        issue(device, EmbedRows { table: &self.weights.embed, tokens, out: h })?;
        let (from, to) = (batch.pos, batch.pos + batch.n as u64);
        for (at, rows) in pass.embeds.iter().filter_map(|embed| embed.overlap(from, to)) {
            device.write(h.buf, h.offset + (at - from) as usize * h.width, rows)?;
        }
        for (i, (&kind, w)) in self.layers.iter().zip(&self.weights.layers).enumerate() {
            if pass.cancel.is_some_and(|c| c.is_cancelled()) {
                return Err(LlamaError::Cancelled);
            }
            // After the last layer only the wanted rows matter, unless somebody looks at all of them.
            let last = i + 1 == self.layers.len() && pass.hidden.is_none();
            let tail = if last { batch.wanted } else { batch.n };
            let there = self.placement.layer(i).layer;
            h = self.bring(device, state, h, (here, there))?;
            here = there;
            self.layer(device, state, i, (kind, w), batch, tail)?;
            if let Some(hidden) = &mut pass.hidden {
                state.observe(device, h, |rows| hidden(i, batch.pos, rows))?;
            }
        }
        self.head(device, state, (here, h), batch, pass)
    }

    /// Rows of the residual stream at another place.
    fn bring(
        &self,
        device: &mut dyn Device,
        state: &State,
        h: Rows,
        (here, there): (Place, Place),
    ) -> Result<Rows> {
        if here == there {
            return Ok(h);
        }
        let to = Rows { buf: state.scratch(there)?.h(h.n_rows).buf, ..h };
        issue(device, CopyRows { from: h, to, add: false })?;
        Ok(to)
    }

    /// One layer. Keys and values of all rows enter the cache; the rest is done for the last `tail` rows.
    fn layer(
        &self,
        device: &mut dyn Device,
        state: &State,
        i: usize,
        (kind, w): (LayerKind, &LayerWeights),
        batch: Batch,
        tail: usize,
    ) -> Result<()> {
        let places = self.placement.layer(i);
        let (s, first) = (state.scratch(places.layer)?, batch.n - tail);
        let h = s.h(batch.n);

        let a = s.normed(batch.n);
        self.rms_norm(device, h, w.attn_norm, a)?;
        let kv = state.kv.view(i).ok_or(DeviceError::Handle { op: "KvAppend", what: "layer" })?;
        let h = h.slice(first, tail);
        match w.qkv.as_ref().filter(|_| batch.n == 1 && tail == 1 && device.far(a.buf)) {
            Some(qkv) => self.remember_and_attend(device, s, kind, (w, qkv), a, &kv, batch.pos, h)?,
            None => {
                self.remember(device, s, kind, w, a, &kv, batch.pos)?;
                if tail == 0 {
                    return Ok(());
                }
                self.attend(device, s, kind, w, a.slice(first, tail), &kv, batch.pos + first as u64, h)?;
            }
        }

        let y = s.normed(tail);
        self.rms_norm(device, h, w.ffn_norm, y)?;
        match &w.ffn {
            Ffn::Dense(ffn) => self.dense(device, s, ffn, y, h),
            Ffn::Moe(ffn) if places.experts == places.layer => self.moe(device, s, ffn, y, h),
            Ffn::Moe(ffn) => self.moe_apart(device, (s, state.scratch(places.experts)?), ffn, y, h),
        }
    }

    fn rms_norm(&self, device: &mut dyn Device, x: Rows, weight: Vector, out: Rows) -> Result<()> {
        issue(device, RmsNorm { x, weight, eps: self.config.rms_eps, out })
    }
}

/// `n` rows in blocks of about the same size, none larger than `most`: the first row of each, and how many they are.
fn blocks(n: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let step = n.div_ceil(n.div_ceil(most.max(1)).max(1)).max(1);
    (0..n).step_by(step).map(move |first| (first, step.min(n - first)))
}

/// Issues one op.
fn issue<'a>(device: &mut dyn Device, op: impl Into<Op<'a>>) -> Result<()> {
    Ok(device.issue(&op.into())?)
}
