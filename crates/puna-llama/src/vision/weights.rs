//! The tensors of the tower, in the names of Hugging Face folders and of `mmproj` GGUF files.

use super::{VisionConfig, rope};
use crate::error::with_capacity;
use crate::weights::{Linear, LoadWatch, Loader, TensorSource, values};
use crate::{LlamaError, Result};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use puna_core::{Device, Mat, Vector};

/// A vision tower whose weights are on a device. It holds no state; forks of that device share it.
#[derive(Clone, Debug)]
pub struct Vision {
    /// What the tower is.
    pub config: VisionConfig,
    /// Pixels of a patch to `hidden`.
    pub patch: Mat,
    /// What is added to the rows of a tile: the positions, and to the last row the class embedding too.
    pub positions: Vector,
    /// Before the first layer.
    pub norm_pre: Norm,
    /// Rotary frequencies of one axis.
    pub inv_freq: Vector,
    /// Layers in order.
    pub layers: Vec<VisionLayer>,
    /// After the last layer.
    pub norm_post: Norm,
    /// The adapter's two matrices, each followed by the activation.
    pub adapter: [Mat; 2],
    /// Adapter output to the width of the text model.
    pub projector: Mat,
}

/// One layer of the tower.
#[derive(Clone, Debug)]
pub struct VisionLayer {
    /// Before attention.
    pub norm1: Norm,
    /// `hidden` to `hidden`.
    pub q: Linear,
    /// `hidden` to `hidden`.
    pub k: Linear,
    /// `hidden` to `hidden`.
    pub v: Linear,
    /// `hidden` to `hidden`.
    pub o: Linear,
    /// Before the feed-forward network.
    pub norm2: Norm,
    /// `hidden` to `n_ff`.
    pub fc1: Linear,
    /// `n_ff` to `hidden`.
    pub fc2: Linear,
}

/// Factors and summands of a layer norm.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// Factors.
    pub weight: Vector,
    /// Summands.
    pub bias: Vector,
}

/// The naming of one file.
enum Names {
    Gguf,
    /// What the tower's and the projector's names begin with.
    HuggingFace {
        prefix: &'static str,
    },
}

impl Names {
    /// Told by what the patch embedding is called.
    fn detect(tensors: &dyn TensorSource) -> Result<Names> {
        if tensors.contains("v.patch_embd.weight") {
            return Ok(Names::Gguf);
        }
        let has = |p: &&str| tensors.contains(&format!("{p}vision_model.patch_embedding.linear.weight"));
        match ["", "model."].into_iter().find(has) {
            Some(prefix) => Ok(Names::HuggingFace { prefix }),
            None => Err(LlamaError::missing(
                "v.patch_embd.weight (GGUF) or vision_model.patch_embedding.linear.weight (Hugging Face)",
            )),
        }
    }

    fn top(&self, gguf: &str, hf: &str) -> String {
        match self {
            Names::Gguf => gguf.to_string(),
            Names::HuggingFace { prefix } => format!("{prefix}{hf}"),
        }
    }

    fn class(&self) -> String {
        self.top("v.class_embd", "vision_model.class_embedding")
    }

    fn positions(&self) -> String {
        self.top("v.position_embd.weight", "vision_model.positional_embedding_vlm")
    }

    fn layer(&self, i: usize, gguf: &str, hf: &str) -> String {
        match self {
            Names::Gguf => format!("v.blk.{i}.{gguf}"),
            Names::HuggingFace { prefix } => format!("{prefix}vision_model.model.layers.{i}.{hf}"),
        }
    }
}

/// Whether a file has a vision tower.
pub fn is_in(tensors: &dyn TensorSource) -> bool {
    Names::detect(tensors).is_ok()
}

/// The class embedding and the position table, which binding melts into one.
pub(crate) fn tables(tensors: &dyn TensorSource) -> Result<[Vec<f32>; 2]> {
    let names = Names::detect(tensors)?;
    let read = |name: &str| values(name, &tensors.find(name)?.ok_or_else(|| LlamaError::missing(name))?);
    Ok([read(&names.class())?, read(&names.positions())?])
}

impl Vision {
    /// Binds the tower's tensors to a device.
    ///
    /// # Errors
    /// A tensor that is missing or of another shape than `config` says, values that are not finite where they must be,
    /// a cancelled load, a device that refuses.
    pub fn load(
        mut config: VisionConfig,
        tensors: &dyn TensorSource,
        device: &mut dyn Device,
        watch: &mut LoadWatch<'_>,
    ) -> Result<Vision> {
        config.validate()?;
        let names = Names::detect(tensors)?;
        let mut file = Binder { file: Loader::new(tensors, device, watch), names: &names };
        let VisionConfig { hidden, n_ff, patch_size, shuffle, projected, .. } = config;

        let patch = file.patch(hidden, 3 * patch_size * patch_size)?;
        let positions = file.positions(&config)?;
        let norm_pre = file.norm(&names.top("v.pre_ln", "vision_model.layernorm_pre"), hidden)?;
        let inv_freq = rope::inv_freq(&config)?;
        let inv_freq = file.file.upload("vision RoPE", inv_freq, config.head_dim() / 4)?;
        // The last layer first: a wild count fails before anything is sized by it.
        let last = names.layer(config.n_layers - 1, "ln1.weight", "input_layernorm.weight");
        file.file.need(&last)?;
        let mut layers = with_capacity(config.n_layers)?;
        for i in 0..config.n_layers {
            layers.push(file.layer(i, hidden, n_ff)?);
        }
        let norm_post = file.norm(&names.top("v.post_ln", "vision_model.layernorm_post"), hidden)?;

        let [fc1, fc2, fc] = [
            names.top("mm.model.mlp.1.weight", "vision_model.vision_adapter.mlp.fc1.weight"),
            names.top("mm.model.mlp.2.weight", "vision_model.vision_adapter.mlp.fc2.weight"),
            names.top("mm.model.fc.weight", "multi_modal_projector.linear_1.weight"),
        ];
        let inner = file.n_out(&fc1, config.adapter_inner)?;
        let out = file.n_out(&fc2, config.adapter_out)?;
        (config.adapter_inner, config.adapter_out) = (Some(inner), Some(out));
        config.validate()?;
        let adapter =
            [file.file.matrix(&fc1, inner, hidden * shuffle * shuffle)?, file.file.matrix(&fc2, out, inner)?];
        let projector = file.file.matrix(&fc, projected, out)?;
        Ok(Vision { config, patch, positions, norm_pre, inv_freq, layers, norm_post, adapter, projector })
    }
}

struct Binder<'n, 'a, 'w> {
    file: Loader<'a, 'w>,
    names: &'n Names,
}

impl Binder<'_, '_, '_> {
    /// The rows of a matrix: as the configuration says, or else as the tensor says itself.
    fn n_out(&self, name: &str, said: Option<usize>) -> Result<usize> {
        let tensor = self.file.need(name)?;
        match (said, tensor.shape.first()) {
            (Some(n), _) => Ok(n),
            (None, Some(&n)) => Ok(n),
            (None, None) => Err(LlamaError::tensor(name, "a matrix", "a single number")),
        }
    }

    /// The patch embedding, which some files hold as a convolution `[hidden, 3, p, p]`: the same bytes.
    fn patch(&mut self, hidden: usize, n_in: usize) -> Result<Mat> {
        let name = self.names.top("v.patch_embd.weight", "vision_model.patch_embedding.linear.weight");
        let tensor = self.file.need(&name)?;
        match tensor.shape.split_first() {
            Some((&n, rest)) if n == hidden && rest.len() == 3 && rest.iter().product::<usize>() == n_in => {
                self.file.load(&name, &tensor, hidden, n_in)
            }
            _ => self.file.matrix(&name, hidden, n_in),
        }
    }

    fn positions(&mut self, config: &VisionConfig) -> Result<Vector> {
        let (hidden, rows) = (config.hidden, config.tile_rows());
        let (class, name) = (self.names.class(), self.names.positions());
        let class_values = values(&class, &self.file.need(&class)?)?;
        if class_values.len() != hidden {
            return Err(LlamaError::tensor(class, format!("{hidden} values"), class_values.len()));
        }
        let mut table = values(&name, &self.file.need(&name)?)?;
        let len = rows.saturating_mul(hidden);
        if table.len() == len {
            // Its row of the product is zero, so the class token is exactly what is added here.
            let last = table.iter_mut().skip(len - hidden);
            last.zip(class_values).for_each(|(sum, v)| *sum += v);
        }
        self.file.upload(&name, table, len)
    }

    fn norm(&mut self, name: &str, len: usize) -> Result<Norm> {
        let weight = self.file.vector(&format!("{name}.weight"), len)?;
        Ok(Norm { weight, bias: self.file.vector(&format!("{name}.bias"), len)? })
    }

    fn linear(&mut self, name: &str, n_out: usize, n_in: usize) -> Result<Linear> {
        let w = self.file.matrix(&format!("{name}.weight"), n_out, n_in)?;
        Ok(Linear { w, bias: Some(self.file.vector(&format!("{name}.bias"), n_out)?) })
    }

    fn layer(&mut self, i: usize, hidden: usize, n_ff: usize) -> Result<VisionLayer> {
        let name = |gguf, hf| self.names.layer(i, gguf, hf);
        // The second norm goes by two names.
        let norm2 = match self.file.contains(&name("attn_post_norm.weight", "")) {
            true => name("attn_post_norm", ""),
            false => name("ln2", "post_attention_layernorm"),
        };
        let norm1 = name("ln1", "input_layernorm");
        let [q, k, v, o] = [
            name("attn_q", "self_attn.q_proj"),
            name("attn_k", "self_attn.k_proj"),
            name("attn_v", "self_attn.v_proj"),
            name("attn_out", "self_attn.o_proj"),
        ];
        let (fc1, fc2) = (name("ffn_up", "mlp.fc1"), name("ffn_down", "mlp.fc2"));
        Ok(VisionLayer {
            norm1: self.norm(&norm1, hidden)?,
            q: self.linear(&q, hidden, hidden)?,
            k: self.linear(&k, hidden, hidden)?,
            v: self.linear(&v, hidden, hidden)?,
            o: self.linear(&o, hidden, hidden)?,
            norm2: self.norm(&norm2, hidden)?,
            fc1: self.linear(&fc1, n_ff, hidden)?,
            fc2: self.linear(&fc2, hidden, n_ff)?,
        })
    }
}
