//! Attention: keys and values of all rows into the cache, then what the rows that go on see of it.

use super::{Llama, blocks, issue};
use crate::scratch::Scratch;
use crate::weights::{LayerWeights, Linear};
use crate::{LayerKind, Result};
use puna_core::ops::{Attend, KvAppend, MatMul, QkPrepare, Rope};
use puna_core::{Device, KvView, Mat, Rows};

impl Llama {
    /// Projects the normed rows `a` to keys and values and stores them at positions `pos ..`.
    pub(super) fn remember(
        &self,
        device: &mut dyn Device,
        s: &Scratch,
        kind: LayerKind,
        w: &LayerWeights,
        a: Rows,
        kv: &KvView<'_>,
        pos: u64,
    ) -> Result<()> {
        let (k, v) = (s.k(a.n_rows), s.v(a.n_rows));
        linear(device, a, &w.k, k, false)?;
        linear(device, a, &w.v, v, false)?;
        if kind.rope {
            issue(device, self.prepare(k, pos, kind, w))?;
        }
        issue(device, KvAppend { k, v, kv, pos })
    }

    /// Adds to `h` what the normed rows `a`, at positions `pos ..`, see of the cache.
    pub(super) fn attend(
        &self,
        device: &mut dyn Device,
        s: &Scratch,
        kind: LayerKind,
        w: &LayerWeights,
        a: Rows,
        kv: &KvView<'_>,
        pos: u64,
        h: Rows,
    ) -> Result<()> {
        for (first, n) in blocks(a.n_rows, s.q_rows()) {
            let (q, pos) = (s.q(n), pos + first as u64);
            linear(device, a.slice(first, n), &w.q, q, false)?;
            self.prepare_queries(device, q, pos, kind, w)?;
            self.see(device, kind, q, kv, pos, s.attended(a.n_rows).slice(first, n))?;
        }
        linear(device, s.attended(a.n_rows), &w.o, h, true)
    }

    /// Both for one row, whose query, key and value are computed side by side: fewer and larger ops, for a device that is
    /// told what to do from afar. `qkv` is what `w` has of the three in one matrix.
    pub(super) fn remember_and_attend(
        &self,
        device: &mut dyn Device,
        s: &Scratch,
        kind: LayerKind,
        (w, qkv): (&LayerWeights, &Mat),
        a: Rows,
        kv: &KvView<'_>,
        pos: u64,
        h: Rows,
    ) -> Result<()> {
        let [q, k, v] = s.together();
        issue(device, MatMul { x: a, w: qkv, bias: None, out: Rows { width: qkv.n_out, ..q }, add: false })?;
        if qkv.n_out == q.width + k.width {
            linear(device, a, &w.v, v, false)?;
        }
        if kind.rope && !kind.temperature {
            let heads = Rows { width: q.width + k.width, ..q };
            issue(device, self.prepare(heads, pos, kind, w))?;
        } else {
            if kind.rope {
                issue(device, self.prepare(k, pos, kind, w))?;
            }
            self.prepare_queries(device, q, pos, kind, w)?;
        }
        issue(device, KvAppend { k, v, kv, pos })?;
        self.see(device, kind, q, kv, pos, s.attended(1))?;
        linear(device, s.attended(1), &w.o, h, true)
    }

    fn prepare_queries(
        &self,
        device: &mut dyn Device,
        q: Rows,
        pos: u64,
        kind: LayerKind,
        w: &LayerWeights,
    ) -> Result<()> {
        let temperature = self.config.temperature.filter(|_| kind.temperature);
        match kind.rope || temperature.is_some() {
            true => issue(device, QkPrepare { temperature, ..self.prepare(q, pos, kind, w) }),
            false => Ok(()),
        }
    }

    /// What prepared queries see of the cache.
    fn see(
        &self,
        device: &mut dyn Device,
        kind: LayerKind,
        q: Rows,
        kv: &KvView<'_>,
        pos: u64,
        out: Rows,
    ) -> Result<()> {
        let scale = 1.0 / libm::sqrtf(self.config.head_dim as f32);
        issue(device, Attend { q, kv, out, pos, scale, window: kind.window })
    }

    /// Rotation and norm, where the layer has them: alike for queries and keys.
    fn prepare(&self, x: Rows, pos: u64, kind: LayerKind, w: &LayerWeights) -> QkPrepare {
        let rope = Rope { inv_freq: w.inv_freq, pairs: self.config.rope.pairs };
        QkPrepare {
            x,
            head_dim: self.config.head_dim,
            pos,
            rope: kind.rope.then_some(rope),
            norm_eps: (kind.rope && self.config.qk_norm).then_some(self.config.rms_eps),
            temperature: None,
        }
    }
}

fn linear(device: &mut dyn Device, x: Rows, linear: &Linear, out: Rows, add: bool) -> Result<()> {
    issue(device, MatMul { x, w: &linear.w, bias: linear.bias, out, add })
}
