//! What a model is: every dimension and constant as data, mapped from a file and checked once.

mod explicit;
mod from_gguf;
mod from_hf;
#[cfg(test)]
mod tests;
mod validate;

pub use explicit::override_metadata;
pub use validate::{MAX_CONTEXT, MAX_EXPERTS, MAX_LAYERS, MAX_VOCAB, MAX_WIDTH};

use alloc::vec::Vec;
use puna_core::ops::{Pairs, Temperature};

/// The families of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Llama 4 and what shares its code: Scout, Maverick, Guard 4, MobileLLM-R1.
    Llama4,
    /// The dense Llama 2 and 3 family.
    Llama,
}

impl Architecture {
    /// The name in GGUF's `general.architecture`, and the prefix of its keys.
    pub const fn name(self) -> &'static str {
        match self {
            Architecture::Llama4 => "llama4",
            Architecture::Llama => "llama",
        }
    }
}

/// A model's configuration.
///
/// Made by [`Config::from_gguf`] or [`Config::from_hf`], both of which end in [`Config::validate`].
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The family.
    pub architecture: Architecture,
    /// Layers.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key/value heads; each serves `n_heads / n_kv_heads` query heads.
    pub n_kv_heads: usize,
    /// Values of one head.
    pub head_dim: usize,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Most positions the model was made for.
    pub context_length: usize,
    /// Epsilon of every RMS norm, QK-norm included.
    pub rms_eps: f32,
    /// Rotary embedding.
    pub rope: RopeConfig,
    /// Per layer: whether queries and keys are rotated. Llama 4 calls the others NoPE layers.
    pub rope_layers: Vec<bool>,
    /// Per layer: whether attention is limited to the chunk, given that there is a chunk size.
    pub chunked_layers: Vec<bool>,
    /// Positions of a chunk; `None` means that every layer sees everything before it.
    pub attention_chunk_size: Option<usize>,
    /// Whether the heads of queries and keys are normalised on RoPE layers.
    pub qk_norm: bool,
    /// The temperature of queries on NoPE layers.
    pub temperature: Option<Temperature>,
    /// Routed experts of a mixture layer; 0 for a dense model.
    pub n_experts: usize,
    /// Experts chosen for each token.
    pub n_experts_used: usize,
    /// Per layer: whether it should have experts. Where tensors say otherwise they are right; see
    /// [`LayerTable`](crate::LayerTable).
    pub moe_layers: Vec<bool>,
    /// Inner width of the dense layers' feed-forward network.
    pub ff_dense: usize,
    /// Inner width of one routed expert.
    pub ff_expert: usize,
    /// Inner width of the shared expert.
    pub ff_shared: usize,
    /// Whether the head is the embedding table.
    pub tied_embeddings: bool,
    /// Whether the attention projections must have biases.
    pub attention_bias: bool,
    /// The token that begins a sequence.
    pub bos: Option<u32>,
    /// The tokens that end an answer.
    pub eos: Vec<u32>,
}

/// The rotary embedding of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// Base of the geometric series of wavelengths.
    pub theta: f64,
    /// Values of each head that turn; even, at most `head_dim`.
    pub n_rot: usize,
    /// Which values form a pair.
    pub pairs: Pairs,
    /// How the frequencies are stretched for long contexts.
    pub scaling: RopeScaling,
}

/// How rotary frequencies are changed for long contexts.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All by one factor.
    Linear {
        /// Divisor of every frequency.
        factor: f32,
    },
    /// Low frequencies by a factor, high ones not, with a blend between ("llama3").
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f32,
        /// Wavelengths above `original / low` are divided.
        low: f32,
        /// Wavelengths below `original / high` are kept.
        high: f32,
        /// Context length of the training before the stretch.
        original: f32,
    },
    /// One divisor a pair, from the file itself (`rope_freqs.weight`).
    Divisors(Vec<f32>),
}

/// NoPE layers by convention: every fourth.
pub const NO_ROPE_INTERVAL: usize = 4;
/// Positions of a chunk by convention.
pub const CHUNK_SIZE: usize = 8192;
/// The temperature of the released models.
pub const TEMPERATURE: Temperature = Temperature { floor_scale: 8192.0, scale: 0.1 };

/// RoPE on all layers but every `interval`-th; an interval of 0 means RoPE everywhere.
fn rope_pattern(n_layers: usize, interval: usize) -> Vec<bool> {
    (0..n_layers).map(|i| interval == 0 || !(i + 1).is_multiple_of(interval)).collect()
}

/// Experts on layers `step - 1, 2 step - 1, …`; a step of 0 means nowhere.
fn moe_pattern(n_layers: usize, step: usize) -> Vec<bool> {
    (0..n_layers).map(|i| step != 0 && (i + 1).is_multiple_of(step)).collect()
}
