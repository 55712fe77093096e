//! One pass over a configuration that proves every number sane and every pair of numbers in agreement.

use super::{Config, RopeScaling};
use crate::{LlamaError, Result};
use alloc::format;
use core::fmt::Display;

/// Most layers; the largest model announced is said to have 160.
pub const MAX_LAYERS: usize = 4096;
/// Most experts of a layer.
pub const MAX_EXPERTS: usize = 1 << 14;
/// Largest width of anything: a residual stream, all heads together, a feed-forward network.
pub const MAX_WIDTH: usize = 1 << 24;
/// Largest vocabulary.
pub const MAX_VOCAB: usize = 1 << 26;
/// Longest context: positions stay exact as F32.
pub const MAX_CONTEXT: usize = 1 << 24;

/// The number of layers, checked before anything is sized by it.
pub(super) fn layers_in_range(key: impl Display, n: u64) -> Result<usize> {
    match usize::try_from(n) {
        Ok(n) if (1..=MAX_LAYERS).contains(&n) => Ok(n),
        _ => Err(LlamaError::config(key, format!("1 to {MAX_LAYERS}"), n)),
    }
}

fn within(key: &str, n: usize, max: usize) -> Result<()> {
    if (1..=max).contains(&n) { Ok(()) } else { Err(LlamaError::config(key, format!("1 to {max}"), n)) }
}

fn positive(key: &str, x: f64, below: f64) -> Result<()> {
    if x.is_finite() && x > 0.0 && x < below {
        return Ok(());
    }
    let expected = format!("a finite number above 0 and below {below}");
    Err(LlamaError::config(key, expected, x))
}

impl Config {
    /// Proves the configuration usable: after this, nothing checks its numbers again.
    ///
    /// # Errors
    /// [`LlamaError::Config`] naming the first value at fault.
    pub fn validate(&self) -> Result<()> {
        layers_in_range("number of layers", self.n_layers as u64)?;
        within("hidden size", self.hidden, MAX_WIDTH)?;
        within("number of heads", self.n_heads, MAX_WIDTH)?;
        within("number of key/value heads", self.n_kv_heads, MAX_WIDTH)?;
        within("head size", self.head_dim, MAX_WIDTH)?;
        within("vocabulary size", self.vocab_size, MAX_VOCAB)?;
        within("context length", self.context_length, MAX_CONTEXT)?;
        // Each factor is at most 2^24, so the product fits in 64 bits.
        let attention_width = self.n_heads as u64 * self.head_dim as u64;
        if attention_width > MAX_WIDTH as u64 {
            let expected = format!("at most {MAX_WIDTH} in all");
            return Err(LlamaError::config("heads times head size", expected, attention_width));
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            let expected = format!("a divisor of the {} heads", self.n_heads);
            return Err(LlamaError::config("number of key/value heads", expected, self.n_kv_heads));
        }
        positive("RMS norm epsilon", self.rms_eps.into(), 1.0)?;
        for (key, len) in [
            ("RoPE layers", self.rope_layers.len()),
            ("chunked layers", self.chunked_layers.len()),
            ("expert layers", self.moe_layers.len()),
        ] {
            if len != self.n_layers {
                return Err(LlamaError::config(key, format!("{} entries", self.n_layers), len));
            }
        }
        self.validate_attention()?;
        self.validate_rope()?;
        self.validate_ffn()?;
        for id in self.bos.iter().chain(&self.eos) {
            if *id as usize >= self.vocab_size {
                let expected = format!("an id below the vocabulary's {}", self.vocab_size);
                return Err(LlamaError::config("bos or eos token", expected, id));
            }
        }
        Ok(())
    }

    fn validate_attention(&self) -> Result<()> {
        if self.attention_chunk_size == Some(0) {
            return Err(LlamaError::config("attention chunk size", "1 or more, or none", 0));
        }
        if let Some(t) = self.temperature {
            positive("temperature floor scale", t.floor_scale.into(), f64::from(f32::MAX))?;
            if !t.scale.is_finite() {
                return Err(LlamaError::config("temperature scale", "a finite number", t.scale));
            }
        }
        Ok(())
    }

    fn validate_rope(&self) -> Result<()> {
        let rope = &self.rope;
        positive("RoPE theta", rope.theta, f64::from(f32::MAX))?;
        if rope.n_rot == 0 || !rope.n_rot.is_multiple_of(2) || rope.n_rot > self.head_dim {
            let expected = format!("an even number of 2 to {}, the head size", self.head_dim);
            return Err(LlamaError::config("RoPE dimensions", expected, rope.n_rot));
        }
        let most = f64::from(f32::MAX);
        match &rope.scaling {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } => positive("RoPE scaling factor", (*factor).into(), most),
            RopeScaling::Llama3 { factor, low, high, original } => {
                positive("RoPE scaling factor", (*factor).into(), most)?;
                positive("RoPE low_freq_factor", (*low).into(), most)?;
                positive("RoPE high_freq_factor", (*high).into(), most)?;
                positive("RoPE original_max_position_embeddings", (*original).into(), most)?;
                if high < low {
                    let expected = format!("at least low_freq_factor, {low}");
                    return Err(LlamaError::config("RoPE high_freq_factor", expected, high));
                }
                Ok(())
            }
            RopeScaling::Divisors(divisors) => {
                if divisors.len() != rope.n_rot / 2 {
                    let expected = format!("{} values", rope.n_rot / 2);
                    return Err(LlamaError::config("RoPE divisors", expected, divisors.len()));
                }
                divisors.iter().try_for_each(|&d| positive("RoPE divisor", d.into(), most))
            }
        }
    }

    fn validate_ffn(&self) -> Result<()> {
        let any_moe = self.moe_layers.contains(&true);
        if any_moe || self.n_experts > 0 {
            within("number of experts", self.n_experts, MAX_EXPERTS)?;
            within("experts per token", self.n_experts_used, self.n_experts)?;
            within("expert width", self.ff_expert, MAX_WIDTH)?;
            within("shared expert width", self.ff_shared, MAX_WIDTH)?;
        }
        // The tensors may disagree with the pattern, so a mixture model needs no dense width to pass here.
        if self.n_experts == 0 || self.ff_dense != 0 {
            within("feed-forward width", self.ff_dense, MAX_WIDTH)?;
        }
        Ok(())
    }
}
