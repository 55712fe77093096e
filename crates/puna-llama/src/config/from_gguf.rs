//! From GGUF metadata, with the conventions of the format's authors for what it does not carry.

use super::validate::layers_in_range;
use super::{Architecture, CHUNK_SIZE, Config, NO_ROPE_INTERVAL, RopeConfig, RopeScaling, TEMPERATURE};
use super::{moe_pattern, rope_pattern};
use crate::weights::TensorSource;
use crate::{LlamaError, Result};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use puna_core::ops::Pairs;
use puna_format::gguf::{FromValue, Metadata, Strings, Value};

/// The experts of Maverick, whose files say nothing of their missing QK-norm.
const EXPERTS_WITHOUT_QK_NORM: usize = 128;

/// Metadata under the prefix of one architecture.
struct Keys<'a> {
    metadata: &'a Metadata,
    prefix: &'static str,
}

impl<'a> Keys<'a> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn find<T: FromValue<'a>>(&self, name: &str) -> Result<Option<T>> {
        Ok(self.metadata.find::<T>(&self.key(name))?)
    }

    fn need<T: FromValue<'a>>(&self, name: &str) -> Result<T> {
        Ok(self.metadata.need::<T>(&self.key(name))?)
    }

    /// One number, or a list with one number a layer that are all the same.
    fn uniform(&self, name: &str) -> Result<Option<usize>> {
        let key = self.key(name);
        if !matches!(self.metadata.get(&key), Some(Value::Array(_))) {
            return self.find(name);
        }
        let list = self.metadata.need::<Vec<usize>>(&key)?;
        match list.split_first() {
            Some((first, rest)) => match rest.iter().find(|v| *v != first) {
                None => Ok(Some(*first)),
                Some(other) => {
                    let found = format!("{first} and {other}");
                    Err(LlamaError::unsupported(key, "the same for every layer", found))
                }
            },
            None => Err(LlamaError::config(key, "a number", "an empty list")),
        }
    }
}

impl Config {
    /// Maps the metadata of a GGUF file. Overrides are applied to `metadata` before, with
    /// [`override_metadata`](super::override_metadata); `tensors` tells what no key does.
    ///
    /// # Errors
    /// Another family, a missing or contradictory key, a feature that is not computed.
    pub fn from_gguf(metadata: &Metadata, tensors: &dyn TensorSource) -> Result<Config> {
        let architecture = match metadata.need::<&str>("general.architecture")? {
            "llama4" => Architecture::Llama4,
            "llama" => Architecture::Llama,
            other => return Err(LlamaError::Architecture { found: other.into() }),
        };
        let keys = Keys { metadata, prefix: architecture.name() };
        let n_layers = layers_in_range(keys.key("block_count"), keys.need::<u64>("block_count")?)?;
        let hidden: usize = keys.need("embedding_length")?;
        let n_heads = match keys.uniform("attention.head_count")? {
            Some(n) if n > 0 => n,
            found => {
                return Err(LlamaError::config(
                    keys.key("attention.head_count"),
                    "1 or more",
                    found.unwrap_or(0),
                ));
            }
        };
        let head_dim = keys.find("attention.key_length")?.unwrap_or(hidden / n_heads);
        match keys.find::<usize>("attention.value_length")? {
            Some(n) if n != head_dim => {
                let key = keys.key("attention.value_length");
                return Err(LlamaError::unsupported(key, format!("{head_dim}, as the keys"), n));
            }
            _ => {}
        }
        let n_experts = keys.find("expert_count")?.unwrap_or(0);
        let mut config = Config {
            architecture,
            n_layers,
            hidden,
            n_heads,
            n_kv_heads: keys.uniform("attention.head_count_kv")?.unwrap_or(n_heads),
            head_dim,
            vocab_size: vocab_size(&keys, tensors)?,
            context_length: keys.need("context_length")?,
            rms_eps: keys.need("attention.layer_norm_rms_epsilon")?,
            rope: RopeConfig {
                theta: keys.find("rope.freq_base")?.unwrap_or(10000.0),
                n_rot: keys.find("rope.dimension_count")?.unwrap_or(head_dim),
                pairs: Pairs::Interleaved,
                scaling: scaling(&keys)?,
            },
            rope_layers: rope_pattern(n_layers, 0),
            chunked_layers: moe_pattern(n_layers, 0),
            attention_chunk_size: None,
            qk_norm: false,
            temperature: None,
            n_experts,
            n_experts_used: 0,
            moe_layers: moe_pattern(n_layers, 0),
            ff_dense: keys.uniform("feed_forward_length")?.unwrap_or(0),
            ff_expert: 0,
            ff_shared: 0,
            tied_embeddings: !tensors.contains("output.weight"),
            attention_bias: false,
            bos: metadata.find("tokenizer.ggml.bos_token_id")?,
            eos: eos(metadata)?,
        };
        match architecture {
            Architecture::Llama4 => config.llama4_conventions(&keys)?,
            Architecture::Llama if n_experts > 0 => {
                let key = keys.key("expert_count");
                return Err(LlamaError::unsupported(
                    key,
                    "0: only the dense models of this family",
                    n_experts,
                ));
            }
            Architecture::Llama => {}
        }
        config.apply_explicit(metadata)?;
        config.window_pattern(&keys)?;
        config.validate()?;
        Ok(config)
    }

    /// What files of `llama4` leave unsaid.
    fn llama4_conventions(&mut self, keys: &Keys<'_>) -> Result<()> {
        let full = keys.find::<u64>("attention.sliding_window")? == Some(0);
        self.rope_layers = rope_pattern(self.n_layers, if full { 0 } else { NO_ROPE_INTERVAL });
        self.chunked_layers = self.rope_layers.clone();
        self.attention_chunk_size = (!full).then_some(CHUNK_SIZE);
        self.temperature = Some(TEMPERATURE);
        self.qk_norm = self.n_experts != EXPERTS_WITHOUT_QK_NORM;
        if self.n_experts > 0 {
            self.n_experts_used = keys.find("expert_used_count")?.unwrap_or(1);
            self.ff_expert = keys.need("expert_feed_forward_length")?;
            self.ff_shared = keys.find("expert_shared_feed_forward_length")?.unwrap_or(self.ff_expert);
            self.moe_layers =
                moe_pattern(self.n_layers, keys.find("interleave_moe_layer_step")?.unwrap_or(1));
        }
        Ok(())
    }

    /// A period `n` (all layers chunked but each `n`-th) or a list with one flag a layer.
    fn window_pattern(&mut self, keys: &Keys<'_>) -> Result<()> {
        const NAME: &str = "attention.sliding_window_pattern";
        let key = keys.key(NAME);
        match keys.metadata.get(&key) {
            None => {}
            Some(Value::Array(_)) => {
                let list = keys.metadata.need::<Vec<bool>>(&key)?;
                if list.len() != self.n_layers {
                    return Err(LlamaError::config(key, format!("{} entries", self.n_layers), list.len()));
                }
                self.chunked_layers = list;
            }
            Some(_) => self.chunked_layers = rope_pattern(self.n_layers, keys.need(NAME)?),
        }
        Ok(())
    }
}

fn scaling(keys: &Keys<'_>) -> Result<RopeScaling> {
    let factor: Option<f32> = match keys.find("rope.scaling.factor")? {
        Some(factor) => Some(factor),
        None => keys.find("rope.scale_linear")?,
    };
    match keys.find::<&str>("rope.scaling.type")? {
        None | Some("linear") => Ok(match factor {
            Some(factor) if factor != 1.0 && factor != 0.0 => RopeScaling::Linear { factor },
            _ => RopeScaling::None,
        }),
        Some("none") => Ok(RopeScaling::None),
        Some(other) => Err(LlamaError::unsupported(keys.key("rope.scaling.type"), "none or linear", other)),
    }
}

/// From its key, the token list, or the rows of the embedding table, in this order.
fn vocab_size(keys: &Keys<'_>, tensors: &dyn TensorSource) -> Result<usize> {
    if let Some(n) = keys.find("vocab_size")? {
        return Ok(n);
    }
    if let Some(tokens) = keys.metadata.find::<&Strings>("tokenizer.ggml.tokens")? {
        return Ok(tokens.len());
    }
    let embedding = tensors.find("token_embd.weight")?.and_then(|t| t.shape.first().copied());
    embedding.ok_or_else(|| {
        LlamaError::config(keys.key("vocab_size"), "a number, or a tensor token_embd.weight", "neither")
    })
}

/// Every token that the file says ends an answer.
fn eos(metadata: &Metadata) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    for name in ["eos_token_id", "eot_token_id", "eom_token_id"] {
        if let Some(id) = metadata.find::<u32>(&format!("tokenizer.ggml.{name}"))?
            && !ids.contains(&id)
        {
            ids.push(id);
        }
    }
    Ok(ids)
}
