//! From a Hugging Face `config.json`: nested (`llama4`), flat (`llama4_text`) and dense (`llama`).

use super::explicit::{is_explicit, rope_list, value};
use super::validate::layers_in_range;
use super::{Architecture, CHUNK_SIZE, Config, NO_ROPE_INTERVAL, RopeConfig, RopeScaling, TEMPERATURE};
use super::{moe_pattern, rope_pattern};
use crate::error::LlamaError;
use crate::Result;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use puna_core::ops::{Pairs, Temperature};
use puna_format::gguf::Metadata;
use serde_json::{Map, Value as Json};

/// A JSON object and the path to it, for messages.
#[derive(Clone, Copy)]
struct Object<'a> {
    map: &'a Map<String, Json>,
    path: &'a str,
}

impl<'a> Object<'a> {
    /// The value, unless it is absent or null.
    fn get(&self, key: &str) -> Option<&'a Json> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    fn wrong(&self, key: &str, expected: &str) -> LlamaError {
        let found = self.map.get(key).map_or_else(|| "nothing".into(), shown);
        LlamaError::config(format!("{}{key}", self.path), expected, found)
    }

    fn find<T>(&self, key: &str, expected: &str, read: impl Fn(&'a Json) -> Option<T>) -> Result<Option<T>> {
        self.get(key).map(|v| read(v).ok_or_else(|| self.wrong(key, expected))).transpose()
    }

    fn size(&self, key: &str) -> Result<Option<usize>> {
        let read = |v: &Json| v.as_u64().and_then(|n| usize::try_from(n).ok());
        self.find(key, "an integer, not negative", read)
    }

    fn need_size(&self, key: &str) -> Result<usize> {
        self.size(key)?.ok_or_else(|| self.wrong(key, "an integer"))
    }

    fn number(&self, key: &str) -> Result<Option<f64>> {
        self.find(key, "a number", Json::as_f64)
    }

    /// A flag; old files write some of them as numbers.
    fn flag(&self, key: &str) -> Result<Option<bool>> {
        let read = |v: &Json| v.as_bool().or_else(|| v.as_f64().map(|n| n != 0.0));
        self.find(key, "true or false", read)
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.find(key, "a string", Json::as_str)
    }

    fn list(&self, key: &str) -> Result<Option<&'a [Json]>> {
        self.find(key, "a list or null", |v| v.as_array().map(Vec::as_slice))
    }

    fn object(&self, key: &str) -> Result<Option<&'a Map<String, Json>>> {
        self.find(key, "an object or null", Json::as_object)
    }
}

/// A value for a message, cut to one short line.
fn shown(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
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
        let Some(map) = root.as_object() else {
            return Err(LlamaError::config("config.json", "an object", shown(root)));
        };
        let root = Object { map, path: "" };
        let mut config = match root.text("model_type")? {
            Some("llama4") => {
                let map = root.object("text_config")?.ok_or_else(|| root.wrong("text_config", "an object"))?;
                llama4(Object { map, path: "text_config." }, root)?
            }
            Some("llama4_text") => llama4(root, root)?,
            Some("llama") => llama(root)?,
            Some(other) => return Err(LlamaError::Architecture { found: other.into() }),
            None => return Err(root.wrong("model_type", "llama4, llama4_text or llama")),
        };
        config.apply_explicit(&explicit)?;
        config.validate()?;
        Ok(config)
    }
}

/// Puts `json` at a dotted path; every object on the way must exist.
fn replace(root: &mut Json, key: &str, json: &Json) -> Result<()> {
    let wrong = || LlamaError::config(key, "a key of config.json, or one of the explicit llama4.attention keys", "neither");
    let (path, last) = key.rsplit_once('.').map_or((None, key), |(path, last)| (Some(path), last));
    let mut at = root;
    for part in path.into_iter().flat_map(|p| p.split('.')) {
        at = at.get_mut(part).ok_or_else(wrong)?;
    }
    // A bare key of a nested file means the text model's.
    let at = match at {
        Json::Object(map) if path.is_none() && !map.contains_key(last) && map.contains_key("text_config") => {
            map.get_mut("text_config").ok_or_else(wrong)?
        }
        other => other,
    };
    at.as_object_mut().ok_or_else(wrong)?.insert(last.to_string(), json.clone());
    Ok(())
}

/// What all families say alike. The family's own fields start as those of a dense model.
fn common(text: Object<'_>, root: Object<'_>, architecture: Architecture) -> Result<Config> {
    let layers = text.need_size("num_hidden_layers")?;
    let n_layers = layers_in_range(format!("{}num_hidden_layers", text.path), layers as u64)?;
    let (hidden, n_heads) = (text.need_size("hidden_size")?, text.need_size("num_attention_heads")?);
    let whole = hidden.checked_div(n_heads).ok_or_else(|| text.wrong("num_attention_heads", "1 or more"))?;
    let head_dim = text.size("head_dim")?.unwrap_or(whole);
    if let Some(act) = text.text("hidden_act")?.filter(|&act| act != "silu" && act != "swish") {
        return Err(LlamaError::unsupported(format!("{}hidden_act", text.path), "silu", act));
    }
    if text.flag("mlp_bias")? == Some(true) {
        return Err(LlamaError::unsupported(format!("{}mlp_bias", text.path), "false", true));
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
        n_kv_heads: text.size("num_key_value_heads")?.unwrap_or(n_heads),
        head_dim,
        vocab_size: text.need_size("vocab_size")?,
        context_length: text.size("max_position_embeddings")?.unwrap_or(2048),
        rms_eps: text.number("rms_norm_eps")?.unwrap_or(default_eps) as f32,
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
        tied_embeddings: match text.flag("tie_word_embeddings")? {
            Some(tied) => tied,
            None => root.flag("tie_word_embeddings")?.unwrap_or(false),
        },
        attention_bias: text.flag("attention_bias")?.unwrap_or(false),
        bos: text.find("bos_token_id", "a token id or null", token)?,
        eos: text.find("eos_token_id", "a token id, a list of them, or null", tokens)?.unwrap_or_default(),
    })
}

fn token(v: &Json) -> Option<u32> {
    v.as_u64().and_then(|id| u32::try_from(id).ok())
}

fn tokens(v: &Json) -> Option<Vec<u32>> {
    match v.as_array() {
        Some(list) => list.iter().map(token).collect(),
        None => token(v).map(|id| [id].to_vec()),
    }
}

fn llama(text: Object<'_>) -> Result<Config> {
    let mut config = common(text, text, Architecture::Llama)?;
    config.ff_dense = text.need_size("intermediate_size")?;
    Ok(config)
}

fn llama4(text: Object<'_>, root: Object<'_>) -> Result<Config> {
    let mut config = common(text, root, Architecture::Llama4)?;
    let n_layers = config.n_layers;
    let width = text.need_size("intermediate_size")?;
    config.ff_dense = text.size("intermediate_size_mlp")?.unwrap_or(width);
    config.n_experts = text.size("num_local_experts")?.unwrap_or(16);
    config.moe_layers = moe_layers(text, n_layers)?;
    config.n_experts_used = text.size("num_experts_per_tok")?.unwrap_or(1);
    // A model without expert layers may say anything about experts; its tensors have the last word.
    if config.n_experts == 0 || (config.n_experts_used == 0 && !config.moe_layers.contains(&true)) {
        (config.n_experts, config.n_experts_used) = (0, 0);
        config.moe_layers = moe_pattern(n_layers, 0);
    } else {
        (config.ff_expert, config.ff_shared) = (width, width);
    }
    config.qk_norm = text.flag("use_qk_norm")?.unwrap_or(true);
    config.rope_layers = rope_layers(text, n_layers)?;
    config.chunked_layers = chunked_layers(text, &config.rope_layers)?;
    // Absent means the default of the published models; null means no chunks at all.
    config.attention_chunk_size = match text.map.get("attention_chunk_size") {
        None => Some(CHUNK_SIZE),
        Some(_) => text.size("attention_chunk_size")?,
    };
    if text.flag("attn_temperature_tuning")?.unwrap_or(true) {
        config.temperature = Some(Temperature {
            floor_scale: text.number("floor_scale")?.map_or(TEMPERATURE.floor_scale, |x| x as f32),
            scale: text.number("attn_scale")?.map_or(TEMPERATURE.scale, |x| x as f32),
        });
    }
    Ok(config)
}

/// An explicit list of layer numbers (an empty one means none), else every `interleave_moe_layer_step`-th.
fn moe_layers(text: Object<'_>, n_layers: usize) -> Result<Vec<bool>> {
    let Some(list) = text.list("moe_layers")? else {
        return Ok(moe_pattern(n_layers, text.size("interleave_moe_layer_step")?.unwrap_or(1)));
    };
    let mut moe = moe_pattern(n_layers, 0);
    for layer in list {
        let slot = layer.as_u64().and_then(|i| moe.get_mut(usize::try_from(i).ok()?));
        *slot.ok_or_else(|| {
            LlamaError::config(format!("{}moe_layers", text.path), format!("layers below {n_layers}"), shown(layer))
        })? = true;
    }
    Ok(moe)
}

fn rope_layers(text: Object<'_>, n_layers: usize) -> Result<Vec<bool>> {
    const KEY: &str = "no_rope_layers";
    let interval = text.size("no_rope_layer_interval")?.unwrap_or(NO_ROPE_INTERVAL);
    let list = text.list(KEY)?.unwrap_or_default();
    let entries = list.iter().map(|v| token(v).or_else(|| v.as_bool().map(u32::from)));
    let entries: Option<Vec<u32>> = entries.collect();
    let entries = entries.ok_or_else(|| text.wrong(KEY, "a list of 0 (NoPE) and 1 (RoPE)"))?;
    rope_list(&format!("{}{KEY}", text.path), &entries, n_layers, interval)
}

fn chunked_layers(text: Object<'_>, rope_layers: &[bool]) -> Result<Vec<bool>> {
    const KEY: &str = "layer_types";
    let Some(list) = text.list(KEY)?.filter(|list| !list.is_empty()) else { return Ok(rope_layers.to_vec()) };
    if list.len() != rope_layers.len() {
        let expected = format!("{} entries", rope_layers.len());
        return Err(LlamaError::config(format!("{}{KEY}", text.path), expected, list.len()));
    }
    let chunked = list.iter().map(|kind| match kind.as_str() {
        Some("chunked_attention") => Ok(true),
        Some("full_attention") => Ok(false),
        _ => {
            let key = format!("{}{KEY}", text.path);
            Err(LlamaError::unsupported(key, "chunked_attention or full_attention", shown(kind)))
        }
    });
    chunked.collect()
}

/// Both styles: `rope_theta` with `rope_scaling`, and `rope_parameters`, which holds all.
fn rope(text: Object<'_>, head_dim: usize, default_theta: f64, pairs: Pairs) -> Result<RopeConfig> {
    let (map, path) = match (text.object("rope_parameters")?, text.object("rope_scaling")?) {
        (Some(map), _) => (Some(map), "rope_parameters."),
        (None, Some(map)) => (Some(map), "rope_scaling."),
        (None, None) => (None, ""),
    };
    let path = format!("{}{path}", text.path);
    let scaling = map.map(|map| Object { map, path: &path });
    let mut theta = scaling.map(|s| s.number("rope_theta")).transpose()?.flatten();
    if theta.is_none() {
        theta = text.number("rope_theta")?;
    }
    let mut partial = scaling.map(|s| s.number("partial_rotary_factor")).transpose()?.flatten();
    if partial.is_none() {
        partial = text.number("partial_rotary_factor")?;
    }
    // The cast saturates; `validate` bounds the result.
    let n_rot = partial.map_or(head_dim, |share| (head_dim as f64 * share) as usize);
    let scaling = scaling.map(rope_scaling).transpose()?.unwrap_or(RopeScaling::None);
    Ok(RopeConfig { theta: theta.unwrap_or(default_theta), n_rot, pairs, scaling })
}

fn rope_scaling(scaling: Object<'_>) -> Result<RopeScaling> {
    let kind = match scaling.text("rope_type")? {
        Some(kind) => Some(kind),
        None => scaling.text("type")?,
    };
    let number = |key: &str| -> Result<f32> {
        scaling.number(key)?.map(|x| x as f32).ok_or_else(|| scaling.wrong(key, "a number"))
    };
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
            let key = format!("{}rope_type", scaling.path);
            Err(LlamaError::unsupported(key, "default, linear or llama3", other))
        }
    }
}
