//! The activations of one batch, each buffer named once with its shape.

use crate::{Config, Llama, Result};
use alloc::vec::Vec;
use puna_core::ops::Picks;
use puna_core::{Buf, Device, Elem, Place, Rows};

/// Rows of logits computed at once when many are wanted.
pub const LOGIT_ROWS: usize = 16;

/// Most rows whose queries exist at once. Unpacking weights again for every 256 rows costs little: 512 tokens through two of
/// Scout's layers in Q4_0 went at 0.99 times the speed of all rows at once (five rounds in turns, 0.86 to 1.16).
const Q_ROWS: usize = 256;
/// Most values inside of a dense network at once, 8 MiB: 256 rows of Scout's shared expert, 128 of Maverick's dense layers.
const INNER: usize = 2 << 20;
/// Rows that are never divided.
const FEW_ROWS: usize = 64;

/// Most rows of which the inside of a dense network of width `n_ff` exists at once.
pub(crate) fn inner_rows(n_ff: usize) -> usize {
    (INNER / n_ff.max(1)).max(FEW_ROWS)
}

/// Buffers at one place of a device, for at most `batch` rows. Made once a session; the forward pass allocates nothing.
/// What is not computed at that place has no room there.
#[derive(Clone, Debug)]
pub struct Scratch {
    /// Rows that fit.
    pub batch: usize,
    /// Where they are.
    pub place: Place,
    /// Dimensions, for views.
    dims: Dims,
    /// Residual stream `[batch, hidden]`.
    h: Buf,
    /// What a norm gives `[batch, hidden]`; and when queries, keys and values are made of that, what attention gives
    /// `[batch, n_heads * head_dim]`.
    normed: Buf,
    /// Queries `[q_rows, n_heads * head_dim]`, then keys and values, `[batch, n_kv_heads * head_dim]` each; and when
    /// attention is done, the inside of a feed-forward network `[inner_rows, n_ff]`.
    inner: Buf,
    /// The router's choices `[batch, n_experts_used]`, if there are experts; a shared one may be among those of one row.
    picks: Picks,
    /// Logits `[logit_rows, vocab]`.
    logits: Buf,
    logit_rows: usize,
    /// What sums begin with `[batch, hidden]`, for experts that are not where their layer is.
    zeros: Buf,
}

/// What is computed at a place.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    /// Layers: attention and dense networks.
    layers: bool,
    /// Values inside of these networks, at most so many at once.
    inner: usize,
    /// Routed experts.
    experts: bool,
    /// Routed experts of layers at another place.
    apart: bool,
    /// The head.
    head: bool,
}

impl Work {
    fn at(place: Place, llama: &Llama, batch: usize) -> Work {
        let mut work = Work { head: llama.placement.head == place, ..Work::default() };
        for (i, kind) in llama.layers.iter().enumerate() {
            let places = llama.placement.layer(i);
            let experts = kind.moe && places.experts == place;
            if places.layer == place {
                let width = if kind.moe { llama.config.ff_shared } else { llama.config.ff_dense };
                let inner = batch.min(inner_rows(width)).saturating_mul(width);
                (work.layers, work.inner) = (true, work.inner.max(inner));
            }
            work.experts |= experts;
            work.apart |= experts && places.layer != place;
        }
        work
    }
}

#[derive(Clone, Copy, Debug)]
struct Dims {
    hidden: usize,
    q: usize,
    kv: usize,
    vocab: usize,
}

impl Dims {
    /// Rows whose queries exist at once. What attention gives for some rows takes the place of what these rows' queries were
    /// made of, and of nothing that is still needed, unless it is wider.
    fn q_rows(&self, batch: usize) -> usize {
        if self.q <= self.hidden { batch.min(Q_ROWS) } else { batch }
    }
}

impl Scratch {
    /// Allocates everything for batches of up to `batch` rows, and one row of logits, at every place that is in use.
    ///
    /// # Errors
    /// Out of memory; what was allocated before is given back.
    pub(crate) fn all(llama: &Llama, batch: usize, device: &mut dyn Device) -> Result<Vec<Scratch>> {
        let mut all: Vec<Scratch> = Vec::new();
        for place in llama.placement.places(llama.layers.len()) {
            match Scratch::new(&llama.config, batch, (place, Work::at(place, llama, batch)), device) {
                Ok(scratch) => all.push(scratch),
                Err(e) => {
                    all.into_iter().for_each(|scratch| scratch.free(device));
                    return Err(e);
                }
            }
        }
        Ok(all)
    }

    fn new(
        config: &Config,
        batch: usize,
        (place, work): (Place, Work),
        device: &mut dyn Device,
    ) -> Result<Scratch> {
        let dims = Dims {
            hidden: config.hidden,
            q: config.n_heads * config.head_dim,
            kv: config.n_kv_heads * config.head_dim,
            vocab: config.vocab_size,
        };
        let of = |needed: bool, width: usize| if needed { width } else { 0 };
        let normed = of(work.layers || work.experts || work.head, dims.hidden).max(of(work.layers, dims.q));
        let kv = batch.saturating_mul(dims.kv.saturating_mul(2));
        let qkv = dims.q_rows(batch).saturating_mul(dims.q).saturating_add(kv);
        let inner = of(work.layers, qkv.max(work.inner));
        let rows = |width: usize| batch.saturating_mul(width);
        let f32s = [rows(dims.hidden), rows(normed), inner, rows(of(work.apart, dims.hidden))];
        let f32s = f32s.map(|len| (Elem::F32, len));
        let n_picks = batch.saturating_mul(of(work.experts, config.n_experts_used));
        let n_picks = n_picks.saturating_add(of(work.experts && config.n_experts_used > 0, 1));
        let rest = [(Elem::F32, of(work.head, dims.vocab)), (Elem::U32, n_picks), (Elem::F32, n_picks)];
        let mut bufs = [Buf(0); 7];
        for (i, (elem, len)) in f32s.into_iter().chain(rest).enumerate() {
            match device.alloc_at(place, elem, len) {
                Ok(buf) => bufs[i] = buf,
                Err(e) => {
                    bufs.iter().take(i).for_each(|&buf| device.free(buf));
                    return Err(e.into());
                }
            }
        }
        let [h, normed, inner, zeros, logits, ids, scores] = bufs;
        let top_k = config.n_experts_used;
        let picks = Picks { ids, scores, top_k };
        let logit_rows = 1;
        Ok(Scratch { batch, place, dims, h, normed, inner, picks, logits, logit_rows, zeros })
    }

    fn free(self, device: &mut dyn Device) {
        let Scratch { h, normed, inner, zeros, logits, picks, .. } = self;
        for buf in [h, normed, inner, zeros, logits, picks.ids, picks.scores] {
            device.free(buf);
        }
    }

    /// Makes room for `n` rows of logits.
    pub(crate) fn reserve_logits(&mut self, n: usize, device: &mut dyn Device) -> Result<()> {
        if n > self.logit_rows {
            let larger = device.alloc_at(self.place, Elem::F32, n.saturating_mul(self.dims.vocab))?;
            device.free(core::mem::replace(&mut self.logits, larger));
            self.logit_rows = n;
        }
        Ok(())
    }

    /// Residual stream, `n` rows.
    pub(crate) fn h(&self, n: usize) -> Rows {
        Rows::new(self.h, n, self.dims.hidden)
    }

    pub(crate) fn normed(&self, n: usize) -> Rows {
        Rows::new(self.normed, n, self.dims.hidden)
    }

    /// Rows of queries that there is room for.
    pub(crate) fn q_rows(&self) -> usize {
        self.dims.q_rows(self.batch)
    }

    pub(crate) fn q(&self, n: usize) -> Rows {
        Rows::new(self.inner, n, self.dims.q)
    }

    pub(crate) fn k(&self, n: usize) -> Rows {
        let offset = self.q_rows() * self.dims.q;
        Rows { offset, ..Rows::new(self.inner, n, self.dims.kv) }
    }

    pub(crate) fn v(&self, n: usize) -> Rows {
        let offset = self.q_rows() * self.dims.q + self.batch * self.dims.kv;
        Rows { offset, ..Rows::new(self.inner, n, self.dims.kv) }
    }

    /// Queries, keys and values of one row, one directly after another.
    pub(crate) fn together(&self) -> [Rows; 3] {
        let Dims { q, kv, .. } = self.dims;
        let at = |offset: usize, width: usize| Rows { buf: self.inner, offset, n_rows: 1, width };
        [at(0, q), at(q, kv), at(q + kv, kv)]
    }

    pub(crate) fn attended(&self, n: usize) -> Rows {
        Rows::new(self.normed, n, self.dims.q)
    }

    /// Inside of a feed-forward network of width `n_ff`.
    pub(crate) fn inner(&self, n: usize, n_ff: usize) -> Rows {
        Rows::new(self.inner, n, n_ff)
    }

    pub(crate) fn picks(&self) -> Option<Picks> {
        (self.picks.top_k > 0).then_some(self.picks)
    }

    /// Choices of one row, the shared expert among them.
    pub(crate) fn picks_and_shared(&self) -> Option<Picks> {
        self.picks().map(|picks| Picks { top_k: picks.top_k + 1, ..picks })
    }

    pub(crate) fn zeros(&self, n: usize) -> Rows {
        Rows::new(self.zeros, n, self.dims.hidden)
    }

    pub(crate) fn logits(&self, n: usize) -> Rows {
        Rows::new(self.logits, n, self.dims.vocab)
    }
}
