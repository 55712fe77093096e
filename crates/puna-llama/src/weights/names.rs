//! What tensors are called in GGUF files and in Hugging Face folders.

use super::TensorSource;
use crate::{Architecture, LlamaError, Result};
use alloc::format;
use alloc::string::{String, ToString};

/// The naming of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// `blk.0.attn_q.weight`.
    Gguf,
    /// `{prefix}layers.0.self_attn.q_proj.weight`.
    HuggingFace {
        /// What the text model's names begin with.
        prefix: &'static str,
        /// What a layer calls its feed-forward network: `feed_forward` in Llama 4, `mlp` before.
        ffn: &'static str,
    },
}

/// Prefixes of the text model: multimodal checkpoints as published, as newer exports write them, text-only, bare.
const PREFIXES: [&str; 4] = ["language_model.model.", "model.language_model.", "model.", ""];

/// One of the four attention projections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proj {
    Q,
    K,
    V,
    O,
}

/// One of the three matrices of a gated feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Gate,
    Up,
    Down,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Part::Gate => "gate",
            Part::Up => "up",
            Part::Down => "down",
        }
    }
}

impl Names {
    /// The naming of a file, told by what its embedding table is called.
    ///
    /// # Errors
    /// [`LlamaError::MissingTensor`] when there is no embedding table under any name.
    pub fn detect(architecture: Architecture, tensors: &dyn TensorSource) -> Result<Names> {
        if tensors.contains("token_embd.weight") {
            return Ok(Names::Gguf);
        }
        let prefix = PREFIXES.into_iter().find(|p| tensors.contains(&format!("{p}embed_tokens.weight")));
        let ffn = match architecture {
            Architecture::Llama4 => "feed_forward",
            Architecture::Llama => "mlp",
        };
        match prefix {
            Some(prefix) => Ok(Names::HuggingFace { prefix, ffn }),
            None => Err(LlamaError::missing(
                "token_embd.weight (GGUF) or model.embed_tokens.weight (Hugging Face)",
            )),
        }
    }

    /// The embedding table.
    pub fn embed(&self) -> String {
        self.top("token_embd.weight", "embed_tokens.weight")
    }

    /// The final norm.
    pub fn norm(&self) -> String {
        self.top("output_norm.weight", "norm.weight")
    }

    /// The names the head may have.
    pub fn heads(&self) -> [&'static str; 2] {
        match self {
            Names::Gguf => ["output.weight"; 2],
            Names::HuggingFace { .. } => ["language_model.lm_head.weight", "lm_head.weight"],
        }
    }

    /// The norm before attention.
    pub fn attn_norm(&self, layer: usize) -> String {
        self.layer(layer, "attn_norm.weight", "input_layernorm.weight")
    }

    /// The norm before the feed-forward network.
    pub fn ffn_norm(&self, layer: usize) -> String {
        self.layer(layer, "ffn_norm.weight", "post_attention_layernorm.weight")
    }

    /// The router; present exactly on layers with experts.
    pub fn router(&self, layer: usize) -> String {
        self.ffn(layer, "ffn_gate_inp.weight", "router.weight")
    }

    /// An attention projection, without `.weight` or `.bias`.
    pub(super) fn attn(&self, layer: usize, proj: Proj) -> String {
        let (gguf, hf) = match proj {
            Proj::Q => ("attn_q", "self_attn.q_proj"),
            Proj::K => ("attn_k", "self_attn.k_proj"),
            Proj::V => ("attn_v", "self_attn.v_proj"),
            Proj::O => ("attn_output", "self_attn.o_proj"),
        };
        self.layer(layer, gguf, hf)
    }

    /// Queries, keys and values in one, without `.weight` or `.bias`.
    pub(super) fn attn_qkv(&self, layer: usize) -> String {
        self.layer(layer, "attn_qkv", "self_attn.qkv_proj")
    }

    /// A part of a dense layer's network.
    pub(super) fn dense(&self, layer: usize, part: Part) -> String {
        let part = part.name();
        self.ffn(layer, &format!("ffn_{part}.weight"), &format!("{part}_proj.weight"))
    }

    /// A part of the shared expert.
    pub(super) fn shared(&self, layer: usize, part: Part) -> String {
        let part = part.name();
        self.ffn(layer, &format!("ffn_{part}_shexp.weight"), &format!("shared_expert.{part}_proj.weight"))
    }

    /// A part of all routed experts, stacked (GGUF).
    pub(super) fn experts(&self, layer: usize, part: Part) -> String {
        let part = part.name();
        self.ffn(layer, &format!("ffn_{part}_exps.weight"), &format!("experts.{part}_proj"))
    }

    /// Gate and up of all routed experts in one tensor.
    pub(super) fn experts_gate_up(&self, layer: usize) -> String {
        self.ffn(layer, "ffn_gate_up_exps.weight", "experts.gate_up_proj")
    }

    /// A part of one routed expert that is a tensor of its own (Hugging Face).
    pub(super) fn expert(&self, layer: usize, expert: usize, part: Part) -> String {
        let part = part.name();
        self.ffn(
            layer,
            &format!("ffn_{part}.{expert}.weight"),
            &format!("experts.{expert}.{part}_proj.weight"),
        )
    }

    fn top(&self, gguf: &str, hf: &str) -> String {
        match self {
            Names::Gguf => gguf.to_string(),
            Names::HuggingFace { prefix, .. } => format!("{prefix}{hf}"),
        }
    }

    fn layer(&self, layer: usize, gguf: &str, hf: &str) -> String {
        match self {
            Names::Gguf => format!("blk.{layer}.{gguf}"),
            Names::HuggingFace { prefix, .. } => format!("{prefix}layers.{layer}.{hf}"),
        }
    }

    fn ffn(&self, layer: usize, gguf: &str, hf: &str) -> String {
        match self {
            Names::Gguf => format!("blk.{layer}.{gguf}"),
            Names::HuggingFace { prefix, ffn } => format!("{prefix}layers.{layer}.{ffn}.{hf}"),
        }
    }
}
