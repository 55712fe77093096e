//! What changes from token to token: the caches, the activations, the last logits.

use super::Llama;
use crate::error::with_capacity;
use crate::kv::KvCache;
use crate::sample::{TOP_LEN, Top};
use crate::scratch::Scratch;
use crate::vision::Embed;
use crate::{LlamaError, Result};
use alloc::vec::Vec;
use puna_core::ops::TopK;
use puna_core::{Buf, Cancel, Device, DeviceError, Elem, Place, Rows};

/// How a state is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateOptions {
    /// Most positions; `None` means what the model was made for.
    pub context: Option<usize>,
    /// Most rows computed at once in prefill.
    pub batch: usize,
    /// Element type of cached keys and values: [`Elem::F16`] or [`Elem::F32`].
    pub kv: Elem,
}

impl Default for StateOptions {
    fn default() -> Self {
        StateOptions { context: None, batch: 512, kv: Elem::F16 }
    }
}

/// Which of the tokens of a pass get logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// None: the tokens only enter the caches.
    Nothing,
    /// The last so many.
    Last(usize),
    /// All.
    All,
}

impl Want {
    /// How many of `n` tokens.
    pub(crate) fn rows(self, n: usize) -> usize {
        match self {
            Want::Nothing => 0,
            Want::Last(most) => most.min(n),
            Want::All => n,
        }
    }
}

/// What a forward pass gives besides its effect on the state, and what it listens to.
pub struct Pass<'a> {
    /// Which tokens get logits.
    pub want: Want,
    /// Rows of images that take the place of embeddings, by absolute position. Those at positions that are not fed in
    /// this pass are ignored.
    pub embeds: &'a [Embed],
    /// Looked at before each layer.
    pub cancel: Option<&'a Cancel>,
    /// Called with each wanted position and its `vocab` logits, in order.
    pub logits: Option<LogitSink<'a>>,
    /// Called after each layer of each batch: layer, position of the first row, the residual stream `[n, hidden]`.
    pub hidden: Option<HiddenSink<'a>>,
    /// Called after each batch: tokens fed, tokens in all.
    pub progress: Option<&'a mut dyn FnMut(usize, usize)>,
}

/// Takes a position and its logits.
pub type LogitSink<'a> = &'a mut dyn FnMut(u64, &[f32]) -> Result<()>;
/// Takes a layer, the position of the first row, and rows of the residual stream.
pub type HiddenSink<'a> = &'a mut dyn FnMut(usize, u64, &[f32]) -> Result<()>;

impl Pass<'_> {
    /// A pass that wants this and listens to nothing.
    pub fn new(want: Want) -> Self {
        Pass { want, embeds: &[], cancel: None, logits: None, hidden: None, progress: None }
    }
}

/// The state of one sequence on one device. Cloned only together with a fork of that device.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) kv: KvCache,
    /// One for each place in use.
    scratches: Vec<Scratch>,
    head: Place,
    context: usize,
    /// The last logits read, at the end of this.
    logits: Vec<f32>,
    /// Where the device has the logits of the last wanted row, if they were not read since.
    unread: Option<Rows>,
    /// Where the device puts the most likely tokens.
    top: Option<Buf>,
    vocab: usize,
}

impl State {
    /// An empty state; buffers for a batch are allocated here, caches as they grow.
    ///
    /// # Errors
    /// Out of memory; a batch or context of 0, or keys and values in another format than F16 or F32.
    pub fn new(llama: &Llama, device: &mut dyn Device, options: &StateOptions) -> Result<State> {
        let config = &llama.config;
        let context = options.context.unwrap_or(config.context_length);
        if context == 0 || context > crate::config::MAX_CONTEXT {
            let expected = alloc::format!("1 to {}", crate::config::MAX_CONTEXT);
            return Err(LlamaError::config("context", expected, context));
        }
        if options.batch == 0 {
            return Err(LlamaError::config("batch", "1 or more", 0));
        }
        if options.kv == Elem::U32 {
            return Err(LlamaError::config("key/value format", "F16 or F32", "U32"));
        }
        let kv = KvCache::new(config, &llama.layers, &llama.placement, context, options.kv)?;
        let vocab = config.vocab_size;
        let mut logits = with_capacity(vocab)?;
        logits.resize(vocab, 0.0);
        let scratches = Scratch::all(llama, options.batch.min(context), device)?;
        let head = llama.placement.head;
        Ok(State { kv, scratches, head, context, logits, unread: None, top: None, vocab })
    }

    /// Positions fed and cached.
    pub fn len(&self) -> u64 {
        self.kv.len()
    }

    /// Whether nothing was fed.
    pub fn is_empty(&self) -> bool {
        self.kv.is_empty()
    }

    /// Most rows computed at once.
    pub(super) fn batch(&self) -> usize {
        self.scratches.first().map_or(0, |scratch| scratch.batch)
    }

    /// The activations at a place.
    pub(super) fn scratch(&self, place: Place) -> Result<&Scratch> {
        let found = self.scratches.iter().find(|scratch| scratch.place == place);
        Ok(found.ok_or(DeviceError::Handle { op: "forward", what: "place" })?)
    }

    /// Most positions.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Bytes of cached keys and values on the device.
    pub fn kv_bytes(&self) -> u64 {
        self.kv.bytes()
    }

    /// Logits of the last wanted row of the last pass, which are read from the device if they were not yet.
    ///
    /// # Errors
    /// A device that failed.
    pub fn logits(&mut self, device: &mut dyn Device) -> Result<&[f32]> {
        let at = self.logits.len() - self.vocab;
        let last = self.logits.get_mut(at..).unwrap_or_default();
        if let Some(rows) = self.unread {
            device.read(&rows, last)?;
            self.unread = None;
        }
        Ok(last)
    }

    /// The `k` most likely tokens after the last wanted row of the last pass, computed where the logits are; `None` if they
    /// were read already or are near.
    ///
    /// # Errors
    /// Out of memory, more than [`TopK::MOST`] or than there are tokens, a device that failed.
    pub fn top<'a>(
        &mut self,
        device: &mut dyn Device,
        k: usize,
        into: &'a mut [f32; TOP_LEN],
    ) -> Result<Option<Top<'a>>> {
        let (Some(x), Some(into)) = (self.unread, into.get_mut(..2 * k + 2)) else { return Ok(None) };
        if !device.far(x.buf) {
            return Ok(None);
        }
        let buf = match self.top {
            Some(buf) => buf,
            None => *self.top.insert(device.alloc_at(self.head, Elem::F32, TOP_LEN)?),
        };
        let out = Rows::new(buf, 1, 2 * k + 2);
        super::issue(device, TopK { x, k, out })?;
        device.read(&out, into)?;
        Ok(Some(Top::new(into, k, self.vocab)))
    }

    /// Forgets positions from `n` on; see [`KvCache::truncate`].
    pub fn truncate(&mut self, n: u64) -> u64 {
        self.kv.truncate(n)
    }

    pub(super) fn reserve_logits(&mut self, n: usize, device: &mut dyn Device) -> Result<()> {
        let len = n.saturating_mul(self.vocab);
        let more = len.saturating_sub(self.logits.len());
        self.logits.try_reserve_exact(more).map_err(|_| LlamaError::out_of_memory::<f32>(len))?;
        if let Some(scratch) = self.scratches.iter_mut().find(|scratch| scratch.place == self.head) {
            scratch.reserve_logits(n, device)?;
        }
        self.logits.resize(len, 0.0);
        Ok(())
    }

    /// The last of these rows is the last wanted one so far.
    pub(super) fn leave_logits(&mut self, rows: Rows) {
        self.unread = Some(rows.slice(rows.n_rows.saturating_sub(1), 1));
    }

    /// Reads rows of logits, the last of which is the last wanted one so far.
    pub(super) fn read_logits(&mut self, device: &mut dyn Device, rows: Rows) -> Result<&[f32]> {
        device.read(&rows, &mut self.logits)?;
        self.unread = None;
        Ok(&self.logits)
    }

    /// Reads rows into memory of the moment: only observers pay for it.
    pub(super) fn observe(
        &self,
        device: &mut dyn Device,
        rows: Rows,
        see: impl FnOnce(&[f32]) -> Result<()>,
    ) -> Result<()> {
        let mut values = with_capacity(rows.len())?;
        values.resize(rows.len(), 0.0);
        device.read(&rows, &mut values)?;
        see(&values)
    }
}
