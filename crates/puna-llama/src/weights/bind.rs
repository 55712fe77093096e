//! Tensors of a file become matrices and vectors on a device, every shape held against the configuration.

use super::names::{Part, Proj};
use super::{LoadProgress, LoadWatch, Names, Tensor, TensorSource};
use crate::config::RopeScaling;
use crate::error::with_capacity;
use crate::{Config, LayerPlaces, LayerTable, LlamaError, Placement, Result, rope};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Display;
use puna_core::quant::dequantize_row;
use puna_core::{Device, Expert, Layout, Mat, Place, Region, Vector};

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
    /// The routed experts.
    pub experts: Vec<Expert>,
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

/// The tensors of a file on their way to a device.
pub(crate) struct Loader<'a, 'w> {
    tensors: &'a dyn TensorSource,
    device: &'a mut dyn Device,
    watch: &'a mut LoadWatch<'w>,
    progress: LoadProgress,
    /// Where the device puts what comes next.
    pub(super) place: Place,
}

impl<'a, 'w> Loader<'a, 'w> {
    pub(crate) fn new(
        tensors: &'a dyn TensorSource,
        device: &'a mut dyn Device,
        watch: &'a mut LoadWatch<'w>,
    ) -> Self {
        let progress = LoadProgress { total_bytes: tensors.total_bytes(), ..LoadProgress::default() };
        Loader { tensors, device, watch, progress, place: Place(0) }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.contains(name)
    }

    pub(crate) fn need(&self, name: &str) -> Result<Tensor> {
        self.tensors.find(name)?.ok_or_else(|| LlamaError::missing(name))
    }

    /// Loads the bytes of a tensor whole, and gives its matrix view: `n_rows` stored rows of `width`.
    pub(crate) fn load(&mut self, name: &str, tensor: &Tensor, n_rows: usize, width: usize) -> Result<Mat> {
        if self.watch.cancel.is_some_and(|c| c.is_cancelled()) {
            return Err(LlamaError::Cancelled);
        }
        let dtype = tensor.dtype;
        let Some(row_bytes) = dtype.row_bytes(width) else {
            let expected = format!("rows of whole blocks of {} in {dtype}", dtype.block_len());
            return Err(LlamaError::tensor(name, expected, format!("rows of {width}")));
        };
        let (bytes, found) = (n_rows.checked_mul(row_bytes), tensor.region.len());
        if bytes != Some(found) {
            let expected = format!("{n_rows} rows of {row_bytes} bytes");
            return Err(LlamaError::tensor(name, expected, format!("{found} bytes")));
        }
        let (watch, before) = (&mut *self.watch, self.progress);
        let mut step = |bytes: u64| {
            if let Some(progress) = &mut watch.progress {
                progress(LoadProgress { bytes: before.bytes.saturating_add(bytes), ..before });
            }
            !watch.cancel.is_some_and(|c| c.is_cancelled())
        };
        let weight = self.device.load_in_steps(self.place, &tensor.region, &mut step)?;
        self.progress.tensors += 1;
        self.progress.bytes = self.progress.bytes.saturating_add(found as u64);
        if let Some(progress) = &mut self.watch.progress {
            progress(self.progress);
        }
        Ok(Mat::plain(weight, dtype, n_rows, width))
    }

    /// A `[n_out, n_in]` tensor, with its row scales where the file has them (`NAME_scale`).
    pub(crate) fn matrix(&mut self, name: &str, n_out: usize, n_in: usize) -> Result<Mat> {
        let tensor = self.need(name)?;
        expect_shape(name, &tensor, &[n_out, n_in])?;
        let mut mat = self.load(name, &tensor, n_out, n_in)?;
        mat.scale = self.scale(name, n_out)?;
        Ok(mat)
    }

    /// The factors of a matrix's outputs: one each, or one for all.
    fn scale(&mut self, name: &str, n_out: usize) -> Result<Option<Vector>> {
        let name = format!("{name}_scale");
        let Some(tensor) = self.tensors.find(&name)? else { return Ok(None) };
        let mut values = values(&name, &tensor)?;
        if let [one] = values[..] {
            values.try_reserve_exact(n_out).map_err(|_| LlamaError::out_of_memory::<f32>(n_out))?;
            values.resize(n_out, one);
        }
        self.upload(&name, values, n_out).map(Some)
    }

    /// A vector of exactly `len` finite values in any format and shape.
    pub(crate) fn vector(&mut self, name: &str, len: usize) -> Result<Vector> {
        let values = values(name, &self.need(name)?)?;
        self.upload(name, values, len)
    }

    pub(crate) fn upload(&mut self, name: &str, values: Vec<f32>, len: usize) -> Result<Vector> {
        if values.len() != len {
            return Err(LlamaError::tensor(name, format!("{len} values"), values.len()));
        }
        let mut bytes = with_capacity(len.saturating_mul(4))?;
        bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let weight = self.device.load_at(self.place, &Region::from_vec(bytes))?;
        Ok(Vector { weight, offset: 0, len })
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
        let [q, k, v] = self.qkv(i)?;
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
        Ok(LayerWeights { inv_freq, attn_norm, q, k, v, o, ffn_norm, ffn })
    }

    /// Three projections, or the rows of a fused one: queries, keys, values.
    fn qkv(&mut self, i: usize) -> Result<[Linear; 3]> {
        let Config { hidden, n_heads, n_kv_heads, head_dim, .. } = *self.config;
        let (q, kv) = (n_heads * head_dim, n_kv_heads * head_dim);
        let fused = self.names.attn_qkv(i);
        if !self.file.contains(&format!("{fused}.weight")) {
            return Ok([
                self.linear(&self.names.attn(i, Proj::Q), q, hidden)?,
                self.linear(&self.names.attn(i, Proj::K), kv, hidden)?,
                self.linear(&self.names.attn(i, Proj::V), kv, hidden)?,
            ]);
        }
        let all = self.linear(&fused, q + 2 * kv, hidden)?;
        let part = |first: usize, n: usize| Linear {
            w: Mat {
                n_out: n,
                offset: all.w.offset + first * all.w.stride,
                scale: all.w.scale.map(|v| slice(v, first, n)),
                ..all.w
            },
            bias: all.bias.map(|v| slice(v, first, n)),
        };
        Ok([part(0, q), part(q, kv), part(q + kv, kv)])
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

    fn moe(&mut self, i: usize, experts: Place) -> Result<Moe> {
        let Config { hidden, n_experts, ff_shared, .. } = *self.config;
        let shared = self.dense(ff_shared, |names, part| names.shared(i, part))?;
        self.file.place = experts;
        let router = self.file.matrix(&self.names.router(i), n_experts, hidden)?;
        Ok(Moe { router, shared, experts: self.experts(i)? })
    }
}

/// `n` values of a vector from `first` on.
pub(super) fn slice(v: Vector, first: usize, n: usize) -> Vector {
    Vector { weight: v.weight, offset: v.offset + first, len: n }
}

/// Refuses a tensor of another shape.
pub(super) fn expect_shape(name: &str, tensor: &Tensor, expected: &[usize]) -> Result<()> {
    if tensor.shape == expected {
        return Ok(());
    }
    Err(LlamaError::tensor(name, format!("shape {expected:?}"), format!("{:?}", tensor.shape)))
}

/// All values of a small tensor as F32, proven finite.
pub(crate) fn values(name: &str, tensor: &Tensor) -> Result<Vec<f32>> {
    let n = tensor.shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
    let wrong = |found: &dyn Display| LlamaError::tensor(name, "whole blocks of its shape's values", found);
    let n = n.filter(|&n| tensor.dtype.row_bytes(n) == Some(tensor.region.len()));
    let n = n.ok_or_else(|| wrong(&format!("{} bytes for shape {:?}", tensor.region.len(), tensor.shape)))?;
    let mut values = with_capacity(n)?;
    values.resize(n, 0.0);
    dequantize_row(tensor.dtype, tensor.region.bytes(), &mut values).map_err(|e| wrong(&e))?;
    match values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        Some((index, &found)) => Err(LlamaError::TensorValue { name: name.into(), index, found }),
        None => Ok(values),
    }
}

/// A matrix stored `[n_in, n_out]`: `width` values a stored row, of which this is `n_out` from `first` on.
pub(super) fn in_out(all: Mat, row: usize, n_in: usize, first: usize, n_out: usize) -> Mat {
    let element = all.dtype.block_bytes();
    let offset = all.offset + row * all.stride + first * element;
    Mat { n_in, n_out, offset, layout: Layout::InOut, scale: None, ..all }
}
