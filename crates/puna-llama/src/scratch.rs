//! The activations of one batch, each buffer named once with its shape.

use crate::{Config, Result};
use puna_core::ops::Picks;
use puna_core::{Buf, Device, Elem, Rows};

/// Rows of logits computed at once when many are wanted.
pub const LOGIT_ROWS: usize = 16;

/// Buffers on a device, for at most `batch` rows. Made once a session; the forward pass allocates nothing.
#[derive(Clone, Debug)]
pub struct Scratch {
    /// Rows that fit.
    pub batch: usize,
    /// Dimensions, for views.
    dims: Dims,
    /// Residual stream `[batch, hidden]`.
    h: Buf,
    /// What a norm gives `[batch, hidden]`.
    normed: Buf,
    /// Queries `[batch, n_heads * head_dim]`.
    q: Buf,
    /// Keys `[batch, n_kv_heads * head_dim]`.
    k: Buf,
    /// Values `[batch, n_kv_heads * head_dim]`.
    v: Buf,
    /// What attention gives `[batch, n_heads * head_dim]`.
    attended: Buf,
    /// Inside of a feed-forward network `[batch, n_ff]`, for its widest kind.
    inner: Buf,
    /// The router's choices `[batch, n_experts_used]`, if there are experts.
    picks: Option<Picks>,
    /// Logits `[logit_rows, vocab]`.
    logits: Buf,
    logit_rows: usize,
}

#[derive(Clone, Copy, Debug)]
struct Dims {
    hidden: usize,
    q: usize,
    kv: usize,
    inner: usize,
    vocab: usize,
}

impl Scratch {
    /// Allocates everything for batches of up to `batch` rows, and one row of logits.
    ///
    /// # Errors
    /// Out of memory; what was allocated before is given back.
    pub fn new(config: &Config, batch: usize, device: &mut dyn Device) -> Result<Scratch> {
        let dims = Dims {
            hidden: config.hidden,
            q: config.n_heads * config.head_dim,
            kv: config.n_kv_heads * config.head_dim,
            inner: config.ff_dense.max(config.ff_shared),
            vocab: config.vocab_size,
        };
        let widths = [dims.hidden, dims.hidden, dims.q, dims.kv, dims.kv, dims.q, dims.inner];
        let f32s = widths.map(|width| (Elem::F32, batch.saturating_mul(width)));
        let n_picks = batch.saturating_mul(config.n_experts_used);
        let rest = [(Elem::F32, dims.vocab), (Elem::U32, n_picks), (Elem::F32, n_picks)];
        let mut bufs = [Buf(0); 10];
        for (i, (elem, len)) in f32s.into_iter().chain(rest).enumerate() {
            match device.alloc(elem, len) {
                Ok(buf) => bufs[i] = buf,
                Err(e) => {
                    bufs.iter().take(i).for_each(|&buf| device.free(buf));
                    return Err(e.into());
                }
            }
        }
        let [h, normed, q, k, v, attended, inner, logits, ids, scores] = bufs;
        let top_k = config.n_experts_used;
        let picks = (top_k > 0).then_some(Picks { ids, scores, top_k });
        Ok(Scratch { batch, dims, h, normed, q, k, v, attended, inner, picks, logits, logit_rows: 1 })
    }

    /// Makes room for `n` rows of logits.
    pub(crate) fn reserve_logits(&mut self, n: usize, device: &mut dyn Device) -> Result<()> {
        if n > self.logit_rows {
            let larger = device.alloc(Elem::F32, n.saturating_mul(self.dims.vocab))?;
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

    pub(crate) fn q(&self, n: usize) -> Rows {
        Rows::new(self.q, n, self.dims.q)
    }

    pub(crate) fn k(&self, n: usize) -> Rows {
        Rows::new(self.k, n, self.dims.kv)
    }

    pub(crate) fn v(&self, n: usize) -> Rows {
        Rows::new(self.v, n, self.dims.kv)
    }

    pub(crate) fn attended(&self, n: usize) -> Rows {
        Rows::new(self.attended, n, self.dims.q)
    }

    /// Inside of a feed-forward network of width `n_ff`.
    pub(crate) fn inner(&self, n: usize, n_ff: usize) -> Rows {
        Rows::new(self.inner, n, n_ff)
    }

    pub(crate) fn picks(&self) -> Option<Picks> {
        self.picks
    }

    pub(crate) fn logits(&self, n: usize) -> Rows {
        Rows::new(self.logits, n, self.dims.vocab)
    }
}
