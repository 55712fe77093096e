//! Tensors of a file become a model's matrices and vectors, every shape held against the configuration.

use super::loader::{Loader, values};
use super::names::{Part, Proj};
use super::{LoadWatch, Names, TensorSource};
use crate::config::RopeScaling;
use crate::error::with_capacity;
use crate::{Config, LayerPlaces, LayerTable, LlamaError, Placement, Result, rope};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use puna_core::{Device, Expert, Layout, Mat, Place, Vector};

/// What a file calls its own rotary divisors.
const DIVISORS: &str = "rope_freqs.weight";

/// Everything the forward pass multiplies with.
#[derive(Clone, Debug)]
pub struct Weights {
    /// `[vocab, hidden]`.
    pub embed: Mat,
    /// Layers in order.
    pub layers: Vec<LayerWeights>,
    /// The final norm, `hidden` values.
    pub norm: Vector,
    /// `hidden` to `vocab`; the embedding table where they are tied.
    pub head: Mat,
}

/// One layer.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// Rotary frequencies, `n_rot / 2` values: the same for all layers at one place.
    pub inv_freq: Vector,
    /// Queries, keys and, unless they have another format, values in one matrix, where the device has them so.
    pub qkv: Option<Mat>,
    /// Norm before attention.
    pub attn_norm: Vector,
    /// `hidden` to `n_heads * head_dim`.
    pub q: Linear,
    /// `hidden` to `n_kv_heads * head_dim`.
    pub k: Linear,
    /// `hidden` to `n_kv_heads * head_dim`.
    pub v: Linear,
    /// `n_heads * head_dim` to `hidden`.
    pub o: Linear,
    /// Norm before the feed-forward network.
    pub ffn_norm: Vector,
    /// The feed-forward network.
    pub ffn: Ffn,
}

/// A bias, where there is one.
pub type Bias = Option<Vector>;

/// A matrix and its bias.
#[derive(Clone, Debug)]
pub struct Linear {
    /// The matrix.
    pub w: Mat,
    /// Added to each output.
    pub bias: Bias,
}

/// The two kinds of feed-forward networks.
#[derive(Clone, Debug)]
pub enum Ffn {
    /// One network for all tokens.
    Dense(Dense),
    /// A shared expert for all, and routed ones for some.
    Moe(Moe),
}

/// `down(silu(gate(x)) * up(x))`.
#[derive(Clone, Debug)]
pub struct Dense {
    /// `hidden` to `n_ff`.
    pub gate: Mat,
    /// `hidden` to `n_ff`.
    pub up: Mat,
    /// `n_ff` to `hidden`.
    pub down: Mat,
}

/// A mixture of experts.
#[derive(Clone, Debug)]
pub struct Moe {
    /// `hidden` to `n_experts`.
    pub router: Mat,
    /// Runs for every token.
    pub shared: Dense,
    /// The routed experts and after them, where it is such an expert too and at the same place, the shared one: one for all
    /// tokens is one more that each of them picks.
    all: Vec<Expert>,
    n_routed: usize,
}

impl Moe {
    /// The routed experts.
    pub fn experts(&self) -> &[Expert] {
        self.all.get(..self.n_routed).unwrap_or_default()
    }

    /// The routed experts and the shared one, if that can be among them.
    pub fn with_shared(&self) -> Option<&[Expert]> {
        (self.all.len() > self.n_routed).then_some(&self.all)
    }
}

impl Weights {
    /// Binds all tensors of the text model, each at its place. Where the file brings its own rotary divisors, `config` takes
    /// them over.
    pub(crate) fn bind(
        config: &mut Config,
        table: &LayerTable,
        names: &Names,
        tensors: &dyn TensorSource,
        device: &mut dyn Device,
        placement: &Placement,
        watch: &mut LoadWatch<'_>,
    ) -> Result<Weights> {
        let (vocab, hidden) = (config.vocab_size, config.hidden);
        let file = Loader::new(tensors, device, watch);
        let mut binder = Binder { config, names, file, frequencies: Vec::new() };
        binder.file.place = placement.embed;
        let embed = binder.file.matrix(&names.embed(), vocab, hidden)?;
        binder.own_divisors()?;
        let mut layers = with_capacity(table.len())?;
        for (i, kind) in table.iter().enumerate() {
            layers.push(binder.layer(i, kind.moe, placement.layer(i))?);
        }
        binder.file.place = placement.head;
        let norm = binder.file.vector(&names.norm(), hidden)?;
        let head = binder.head(embed)?;
        Ok(Weights { embed, layers, norm, head })
    }
}

/// What the binding of the text model needs.
pub(super) struct Binder<'a, 'w> {
    pub(super) config: &'a mut Config,
    pub(super) names: &'a Names,
    pub(super) file: Loader<'a, 'w>,
    /// The rotary frequencies at the places that have them already.
    pub(super) frequencies: Vec<(Place, Vector)>,
}

impl Binder<'_, '_> {
    /// The file's own rotary divisors, if it has some, take the place of what its configuration says.
    fn own_divisors(&mut self) -> Result<()> {
        if self.file.contains(DIVISORS) {
            self.config.rope.scaling = RopeScaling::Divisors(values(DIVISORS, &self.file.need(DIVISORS)?)?);
            self.config.validate()?;
        }
        Ok(())
    }

    /// The rotary frequencies at the place where weights go now.
    fn inv_freq(&mut self) -> Result<Vector> {
        let place = self.file.place;
        if let Some((_, known)) = self.frequencies.iter().find(|(at, _)| *at == place) {
            return Ok(*known);
        }
        let freqs = rope::inv_freq(&self.config.rope)?;
        let inv_freq = self.file.upload(DIVISORS, freqs, self.config.rope.n_rot / 2)?;
        self.frequencies.push((place, inv_freq));
        Ok(inv_freq)
    }

    fn head(&mut self, embed: Mat) -> Result<Mat> {
        if self.config.tied_embeddings {
            return Ok(embed);
        }
        let (vocab, hidden) = (self.config.vocab_size, self.config.hidden);
        let names = self.names.heads();
        match names.into_iter().find(|name| self.file.contains(name)) {
            Some(name) => self.file.matrix(name, vocab, hidden),
            None => Err(LlamaError::missing(names[1])),
        }
    }

    fn layer(&mut self, i: usize, moe: bool, places: LayerPlaces) -> Result<LayerWeights> {
        let hidden = self.config.hidden;
        self.file.place = places.layer;
        let inv_freq = self.inv_freq()?;
        let attn_norm = self.file.vector(&self.names.attn_norm(i), hidden)?;
        let (qkv, [q, k, v]) = self.qkv(i)?;
        let q_width = self.config.n_heads * self.config.head_dim;
        let o = self.linear(&self.names.attn(i, Proj::O), hidden, q_width)?;
        let ffn_norm = self.file.vector(&self.names.ffn_norm(i), hidden)?;
        let ffn = match moe {
            true => Ffn::Moe(self.moe(i, places.experts)?),
            false => {
                let n_ff = self.config.ff_dense;
                Ffn::Dense(self.dense(n_ff, |names, part| names.dense(i, part))?)
            }
        };
        Ok(LayerWeights { inv_freq, qkv, attn_norm, q, k, v, o, ffn_norm, ffn })
    }

    /// Three projections, or the rows of a fused one: queries, keys, values; and what of them is one matrix on the device.
    fn qkv(&mut self, i: usize) -> Result<(Option<Mat>, [Linear; 3])> {
        let Config { hidden, n_heads, n_kv_heads, head_dim, .. } = *self.config;
        let (q, kv) = (n_heads * head_dim, n_kv_heads * head_dim);
        let fused = self.names.attn_qkv(i);
        let part = |all: &Linear, first: usize, n: usize| Linear {
            w: Mat {
                n_out: n,
                offset: all.w.offset + first * all.w.stride,
                scale: all.w.scale.map(|v| slice(v, first, n)),
                ..all.w
            },
            bias: all.bias.map(|v| slice(v, first, n)),
        };
        if self.file.contains(&format!("{fused}.weight")) {
            let all = self.linear(&fused, q + 2 * kv, hidden)?;
            let one = all.bias.is_none().then_some(all.w);
            return Ok((one, [part(&all, 0, q), part(&all, q, kv), part(&all, q + kv, kv)]));
        }
        let names = [(Proj::Q, q), (Proj::K, kv), (Proj::V, kv)].map(|(p, n)| (self.names.attn(i, p), n));
        let plain = !self.config.attention_bias
            && names.iter().all(|(name, _)| !self.file.contains(&format!("{name}.bias")));
        let weights = names.each_ref().map(|(name, n)| (format!("{name}.weight"), *n));
        // All three, or the first two.
        let same = if plain { self.file.alike(&weights) } else { 0 };
        if same >= 2
            && let Some(w) = self.file.matrices(&weights[..same], hidden)?
        {
            let all = Linear { w, bias: None };
            let v = match same {
                3 => part(&all, q + kv, kv),
                _ => self.linear(&names[2].0, kv, hidden)?,
            };
            return Ok((Some(w), [part(&all, 0, q), part(&all, q, kv), v]));
        }
        let [q, k, v] = names.each_ref().map(|(name, n)| self.linear(name, *n, hidden));
        Ok((None, [q?, k?, v?]))
    }

    /// `NAME.weight`, and `NAME.bias` where it is there or must be.
    fn linear(&mut self, name: &str, n_out: usize, n_in: usize) -> Result<Linear> {
        let w = self.file.matrix(&format!("{name}.weight"), n_out, n_in)?;
        let bias = format!("{name}.bias");
        let bias = match self.config.attention_bias || self.file.contains(&bias) {
            true => Some(self.file.vector(&bias, n_out)?),
            false => None,
        };
        Ok(Linear { w, bias })
    }

    pub(super) fn dense(&mut self, n_ff: usize, name: impl Fn(&Names, Part) -> String) -> Result<Dense> {
        let hidden = self.config.hidden;
        let gate = self.file.matrix(&name(self.names, Part::Gate), n_ff, hidden)?;
        let up = self.file.matrix(&name(self.names, Part::Up), n_ff, hidden)?;
        let down = self.file.matrix(&name(self.names, Part::Down), hidden, n_ff)?;
        Ok(Dense { gate, up, down })
    }

    fn moe(&mut self, i: usize, place: Place) -> Result<Moe> {
        let Config { hidden, n_experts, ff_expert, ff_shared, .. } = *self.config;
        let here = place == self.file.place;
        // Alike and at one place, each of the shared expert's matrices may follow those of the routed ones.
        let beside = here && ff_shared == ff_expert;
        let (mut experts, mut shared) = (Vec::new(), None);
        if beside && let Some(found) = self.stacked_with_shared(i)? {
            (experts, shared) = (found.0, Some(found.1));
        }
        let shared = match shared {
            Some(shared) => shared,
            None => self.dense(ff_shared, |names, part| names.shared(i, part))?,
        };
        self.file.place = place;
        let router = self.file.matrix(&self.names.router(i), n_experts, hidden)?;
        if experts.is_empty() {
            experts = self.experts(i)?;
        }
        let one = Expert { gate: shared.gate, up: shared.up, down: shared.down };
        let plain = |e: &Expert| {
            [e.gate, e.up, e.down].iter().all(|m| m.layout == Layout::OutIn && m.scale.is_none())
        };
        let n_routed = experts.len();
        if beside && experts.iter().chain([&one]).all(plain) {
            let refused = |_| LlamaError::out_of_memory::<Expert>(n_routed + 1);
            experts.try_reserve_exact(1).map_err(refused)?;
            experts.push(one);
        }
        Ok(Moe { router, shared, all: experts, n_routed })
    }
}

/// `n` values of a vector from `first` on.
pub(super) fn slice(v: Vector, first: usize, n: usize) -> Vector {
    Vector { weight: v.weight, offset: v.offset + first, len: n }
}

/// A matrix stored `[n_in, n_out]`: `width` values a stored row, of which this is `n_out` from `first` on.
pub(super) fn in_out(all: Mat, row: usize, n_in: usize, first: usize, n_out: usize) -> Mat {
    let element = all.dtype.block_bytes();
    let offset = all.offset + row * all.stride + first * element;
    Mat { n_in, n_out, offset, layout: Layout::InOut, scale: None, ..all }
}
