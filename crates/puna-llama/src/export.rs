//! A configuration as GGUF metadata, with every explicit key, so that nothing is left to convention.

use crate::Config;
use crate::config::RopeScaling;
use alloc::format;
use alloc::vec::Vec;
use puna_format::gguf::{Metadata, Value};

/// Sets the keys that describe `config`. Tokenizer keys are not part of it, except the ids of BOS and EOS.
///
/// Rotary divisors and llama3 scaling are no keys but the tensor `rope_freqs.weight`: see [`rope_divisors`].
pub fn metadata(config: &Config, metadata: &mut Metadata) {
    let arch = config.architecture.name();
    metadata.set("general.architecture", arch);
    let mut set = |name: &str, value: Value| metadata.set(format!("{arch}.{name}"), value);
    let size = |n: usize| Value::U32(u32::try_from(n).unwrap_or(u32::MAX));
    set("block_count", size(config.n_layers));
    set("context_length", size(config.context_length));
    set("embedding_length", size(config.hidden));
    set("feed_forward_length", size(config.ff_dense));
    set("vocab_size", size(config.vocab_size));
    set("attention.head_count", size(config.n_heads));
    set("attention.head_count_kv", size(config.n_kv_heads));
    set("attention.key_length", size(config.head_dim));
    set("attention.value_length", size(config.head_dim));
    set("attention.layer_norm_rms_epsilon", Value::F32(config.rms_eps));
    set("rope.freq_base", Value::F32(config.rope.theta as f32));
    set("rope.dimension_count", size(config.rope.n_rot));
    if let RopeScaling::Linear { factor } = config.rope.scaling {
        set("rope.scaling.type", "linear".into());
        set("rope.scaling.factor", Value::F32(factor));
    }
    set("expert_count", size(config.n_experts));
    if config.n_experts > 0 {
        set("expert_used_count", size(config.n_experts_used));
        set("expert_feed_forward_length", size(config.ff_expert));
        set("expert_shared_feed_forward_length", size(config.ff_shared));
        let step = config.moe_layers.iter().position(|&moe| moe).map_or(0, |i| i + 1);
        set("interleave_moe_layer_step", size(step));
    }
    set("attention.chunk_size", size(config.attention_chunk_size.unwrap_or(0)));
    if config.attention_chunk_size.is_none() {
        set("attention.sliding_window", Value::U32(0));
    }
    set("attention.sliding_window_pattern", config.chunked_layers.clone().into());
    set("attention.qk_norm", Value::Bool(config.qk_norm));
    set("attention.temperature_tuning", Value::Bool(config.temperature.is_some()));
    if let Some(t) = config.temperature {
        set("attention.temperature_floor_scale", Value::F32(t.floor_scale));
        set("attention.temperature_scale", Value::F32(t.scale));
    }
    let rope: Vec<u32> = config.rope_layers.iter().map(|&rope| rope.into()).collect();
    set("attention.no_rope_layers", rope.into());
    if let Some(bos) = config.bos {
        metadata.set("tokenizer.ggml.bos_token_id", bos);
    }
    // Where a vocabulary has named the tokens that end answers, the names stay; the others take the keys that are free.
    const EOS_KEYS: [&str; 3] =
        ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];
    let named = EOS_KEYS.map(|key| metadata.find::<u32>(key).ok().flatten());
    let free = EOS_KEYS.into_iter().zip(named).filter(|(_, id)| id.is_none());
    let unnamed = config.eos.iter().filter(|id| !named.contains(&Some(**id)));
    for ((key, _), &id) in free.zip(unnamed) {
        metadata.set(key, id);
    }
}

/// The values of `rope_freqs.weight`: what each unscaled frequency is divided by. `None` where no tensor is needed.
///
/// # Errors
/// Out of memory.
pub fn rope_divisors(config: &Config) -> crate::Result<Option<Vec<f32>>> {
    let plain = crate::config::RopeConfig { scaling: RopeScaling::None, ..config.rope.clone() };
    match &config.rope.scaling {
        RopeScaling::None | RopeScaling::Linear { .. } => Ok(None),
        RopeScaling::Divisors(divisors) => Ok(Some(divisors.clone())),
        RopeScaling::Llama3 { .. } => {
            let (plain, scaled) = (crate::rope::inv_freq(&plain)?, crate::rope::inv_freq(&config.rope)?);
            Ok(Some(plain.iter().zip(&scaled).map(|(plain, scaled)| plain / scaled).collect()))
        }
    }
}
