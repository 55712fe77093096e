//! From a Hugging Face `config.json`: nested (`llama4`), flat (`llama4_text`) and dense (`llama`).

use super::explicit::{is_explicit, rope_list, value};
use super::validate::layers_in_range;
use super::{Architecture, CHUNK_SIZE, Config, NO_ROPE_INTERVAL, RopeConfig, RopeScaling, TEMPERATURE};
use super::{moe_pattern, rope_pattern};
use crate::Result;
use crate::error::LlamaError;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use puna_core::ops::{Pairs, Temperature};
use puna_format::gguf::Metadata;
use puna_format::json::{Object, Value as Json};

/// A flag; old files write some of them as numbers.
fn flag(object: &Object<'_>, key: &str) -> Result<Option<bool>> {
    match object.get(key) {
        Some(Json::Number(n)) => Ok(Some(n.as_f64() != Some(0.0))),
        _ => Ok(object.find(key)?),
    }
}

impl Config {
    /// Maps a parsed `config.json`.
    ///
    /// Of the overrides, our explicit keys (`llama4.attention.chunk_size`, …) win over the mapped values; any other key
    /// replaces the value at its dotted path (`rope_theta`, `text_config.rope_theta`) before the mapping.
    ///
    /// # Errors
    /// Another family, a missing or contradictory key, a feature that is not computed.
    pub fn from_hf(config: &Json, overrides: &[(String, Json)]) -> Result<Config> {
        let mut explicit = Metadata::new();
        let mut replaced = None;
        for (key, json) in overrides {
            if is_explicit(key) {
                explicit.set(key.clone(), value(key, json)?);
            } else {
                replace(replaced.get_or_insert_with(|| config.clone()), key, json)?;
            }
        }
        let root = replaced.as_ref().unwrap_or(config);
        let root = Object::root(root)?;
        let mut config = match root.need::<&str>("model_type")? {
            "llama4" => {
                let missing = || LlamaError::config("text_config", "an object", "nothing");
                llama4(&root.object("text_config")?.ok_or_else(missing)?, &root)?
            }
            "llama4_text" => llama4(&root, &root)?,
            "llama" => llama(&root)?,
            other => return Err(LlamaError::Architecture { found: other.into() }),
        };
        config.apply_explicit(&explicit)?;
        config.validate()?;
        Ok(config)
    }
}

/// Puts `json` at a dotted path; every object on the way must exist. In a nested file a key that the root does not have
/// means the text model's.
fn replace(root: &mut Json, key: &str, json: &Json) -> Result<()> {
    let wrong = || {
        let expected = "a key of config.json, or one of the explicit llama4.attention keys";
        LlamaError::config(format!("override {key}"), expected, "neither")
    };
    let first = key.split('.').next().unwrap_or(key);
    let mut at = match root.get(first).is_none() && root.get("text_config").is_some() {
        true => root.get_mut("text_config").ok_or_else(wrong)?,
        false => root,
    };
    let (path, last) = key.rsplit_once('.').map_or((None, key), |(path, last)| (Some(path), last));
    for part in path.into_iter().flat_map(|path| path.split('.')) {
        at = at.get_mut(part).ok_or_else(wrong)?;
    }
    at.as_object_mut().ok_or_else(wrong)?.insert(last.into(), json.clone());
    Ok(())
}

/// What all families say alike. The family's own fields start as those of a dense model.
fn common(text: &Object<'_>, root: &Object<'_>, architecture: Architecture) -> Result<Config> {
    let n_layers = layers_in_range(text.path("num_hidden_layers"), text.need("num_hidden_layers")?)?;
    let (hidden, n_heads) = (text.need::<usize>("hidden_size")?, text.need("num_attention_heads")?);
    let whole = hidden.checked_div(n_heads).ok_or_else(|| text.bad("num_attention_heads", "1 or more", 0))?;
    let head_dim = text.find("head_dim")?.unwrap_or(whole);
    if let Some(act) = text.find::<&str>("hidden_act")?.filter(|&act| act != "silu" && act != "swish") {
        return Err(LlamaError::unsupported(text.path("hidden_act"), "silu", act));
    }
    if flag(text, "mlp_bias")? == Some(true) {
        return Err(LlamaError::unsupported(text.path("mlp_bias"), "false", true));
    }
    let (default_eps, default_theta, pairs) = match architecture {
        Architecture::Llama4 => (1e-5, 500000.0, Pairs::Interleaved),
        Architecture::Llama => (1e-6, 10000.0, Pairs::Half),
    };
    Ok(Config {
        architecture,
        n_layers,
        hidden,
        n_heads,
        n_kv_heads: text.find("num_key_value_heads")?.unwrap_or(n_heads),
        head_dim,
        vocab_size: text.need("vocab_size")?,
        context_length: text.find("max_position_embeddings")?.unwrap_or(2048),
        rms_eps: text.find("rms_norm_eps")?.unwrap_or(default_eps),
        rope: rope(text, head_dim, default_theta, pairs)?,
        rope_layers: rope_pattern(n_layers, 0),
        chunked_layers: moe_pattern(n_layers, 0),
        attention_chunk_size: None,
        qk_norm: false,
        temperature: None,
        n_experts: 0,
        n_experts_used: 0,
        moe_layers: moe_pattern(n_layers, 0),
        ff_dense: 0,
        ff_expert: 0,
        ff_shared: 0,
        tied_embeddings: match flag(text, "tie_word_embeddings")? {
            Some(tied) => tied,
            None => flag(root, "tie_word_embeddings")?.unwrap_or(false),
        },
        attention_bias: flag(text, "attention_bias")?.unwrap_or(false),
        bos: text.find("bos_token_id")?,
        eos: match text.get("eos_token_id") {
            Some(Json::Array(_)) => text.need("eos_token_id")?,
            _ => text.find("eos_token_id")?.into_iter().collect(),
        },
    })
}

fn llama(text: &Object<'_>) -> Result<Config> {
    let mut config = common(text, text, Architecture::Llama)?;
    config.ff_dense = text.need("intermediate_size")?;
    Ok(config)
}

fn llama4(text: &Object<'_>, root: &Object<'_>) -> Result<Config> {
    let mut config = common(text, root, Architecture::Llama4)?;
    let n_layers = config.n_layers;
    let width = text.need("intermediate_size")?;
    config.ff_dense = text.find("intermediate_size_mlp")?.unwrap_or(width);
    config.n_experts = text.find("num_local_experts")?.unwrap_or(16);
    config.moe_layers = moe_layers(text, n_layers)?;
    config.n_experts_used = text.find("num_experts_per_tok")?.unwrap_or(1);
    // A model without expert layers may say anything about experts; its tensors have the last word.
    if config.n_experts == 0 || (config.n_experts_used == 0 && !config.moe_layers.contains(&true)) {
        (config.n_experts, config.n_experts_used) = (0, 0);
        config.moe_layers = moe_pattern(n_layers, 0);
    } else {
        (config.ff_expert, config.ff_shared) = (width, width);
    }
    config.qk_norm = flag(text, "use_qk_norm")?.unwrap_or(true);
    config.rope_layers = rope_layers(text, n_layers)?;
    config.chunked_layers = chunked_layers(text, &config.rope_layers)?;
    // Absent means the default of the published models; null means no chunks at all.
    config.attention_chunk_size = match text.contains("attention_chunk_size") {
        true => text.find("attention_chunk_size")?,
        false => Some(CHUNK_SIZE),
    };
    if flag(text, "attn_temperature_tuning")?.unwrap_or(true) {
        config.temperature = Some(Temperature {
            floor_scale: text.find("floor_scale")?.unwrap_or(TEMPERATURE.floor_scale),
            scale: text.find("attn_scale")?.unwrap_or(TEMPERATURE.scale),
        });
    }
    Ok(config)
}

/// An explicit list of layer numbers (an empty one means none), else every `interleave_moe_layer_step`-th.
fn moe_layers(text: &Object<'_>, n_layers: usize) -> Result<Vec<bool>> {
    const KEY: &str = "moe_layers";
    let Some(list) = text.find::<Vec<usize>>(KEY)? else {
        return Ok(moe_pattern(n_layers, text.find("interleave_moe_layer_step")?.unwrap_or(1)));
    };
    let mut moe = moe_pattern(n_layers, 0);
    for layer in list {
        let slot = moe.get_mut(layer);
        *slot.ok_or_else(|| text.bad(KEY, format!("layers below {n_layers}"), layer))? = true;
    }
    Ok(moe)
}

fn rope_layers(text: &Object<'_>, n_layers: usize) -> Result<Vec<bool>> {
    const KEY: &str = "no_rope_layers";
    let interval = text.find("no_rope_layer_interval")?.unwrap_or(NO_ROPE_INTERVAL);
    let list = match text.get(KEY) {
        Some(Json::Array(list)) if list.first().is_some_and(Json::is_boolean) => {
            text.need::<Vec<bool>>(KEY)?.into_iter().map(u32::from).collect()
        }
        _ => text.find::<Vec<u32>>(KEY)?.unwrap_or_default(),
    };
    rope_list(&text.path(KEY), &list, n_layers, interval)
}

fn chunked_layers(text: &Object<'_>, rope_layers: &[bool]) -> Result<Vec<bool>> {
    const KEY: &str = "layer_types";
    let list = text.find::<Vec<&str>>(KEY)?.unwrap_or_default();
    if list.is_empty() {
        return Ok(rope_layers.to_vec());
    }
    if list.len() != rope_layers.len() {
        let expected = format!("{} entries", rope_layers.len());
        return Err(LlamaError::config(text.path(KEY), expected, list.len()));
    }
    let chunked = list.into_iter().map(|kind| match kind {
        "chunked_attention" => Ok(true),
        "full_attention" => Ok(false),
        other => Err(LlamaError::unsupported(text.path(KEY), "chunked_attention or full_attention", other)),
    });
    chunked.collect()
}

/// Both styles: `rope_theta` with `rope_scaling`, and `rope_parameters`, which holds all.
fn rope(text: &Object<'_>, head_dim: usize, default_theta: f64, pairs: Pairs) -> Result<RopeConfig> {
    let parameters = match text.object("rope_parameters")? {
        Some(parameters) => Some(parameters),
        None => text.object("rope_scaling")?,
    };
    let number = |key: &str| match parameters.as_ref().map(|p| p.find(key)).transpose()?.flatten() {
        Some(x) => Ok::<_, LlamaError>(Some(x)),
        None => Ok(text.find::<f64>(key)?),
    };
    let theta = number("rope_theta")?.unwrap_or(default_theta);
    // The cast saturates; `validate` bounds the result.
    let n_rot = number("partial_rotary_factor")?.map_or(head_dim, |share| (head_dim as f64 * share) as usize);
    let scaling = parameters.as_ref().map(rope_scaling).transpose()?.unwrap_or(RopeScaling::None);
    Ok(RopeConfig { theta, n_rot, pairs, scaling })
}

fn rope_scaling(scaling: &Object<'_>) -> Result<RopeScaling> {
    let kind = match scaling.find("rope_type")? {
        Some(kind) => Some(kind),
        None => scaling.find::<&str>("type")?,
    };
    let number = |key: &str| scaling.need::<f32>(key);
    match kind {
        None | Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: number("factor")? }),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: number("factor")?,
            low: number("low_freq_factor")?,
            high: number("high_freq_factor")?,
            original: number("original_max_position_embeddings")?,
        }),
        Some(other) => {
            Err(LlamaError::unsupported(scaling.path("rope_type"), "default, linear or llama3", other))
        }
    }
}
