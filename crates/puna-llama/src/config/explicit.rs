//! Keys of our own for what GGUF does not carry, and overrides of any key by the caller.

use super::{Architecture, Config, NO_ROPE_INTERVAL, TEMPERATURE, rope_pattern};
use crate::{LlamaError, Result};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use puna_core::ops::Temperature;
use puna_format::gguf::{Metadata, Value};
use serde_json::Value as Json;

/// The names after `llama4.attention.` (or, accepted as well, `llama4.`).
pub(super) const NAMES: [&str; 6] = [
    "chunk_size",
    "temperature_tuning",
    "temperature_floor_scale",
    "temperature_scale",
    "qk_norm",
    "no_rope_layers",
];

/// Whether `key` is one of ours, with either prefix.
pub(super) fn is_explicit(key: &str) -> bool {
    let name = key.strip_prefix("llama4.").or_else(|| key.strip_prefix("llama."));
    name.is_some_and(|name| NAMES.contains(&name.strip_prefix("attention.").unwrap_or(name)))
}

/// Applies overrides to the metadata of a GGUF file, before it is mapped.
///
/// # Errors
/// A value that GGUF metadata cannot hold (`null`, an object, a mixed list).
pub fn override_metadata(metadata: &mut Metadata, overrides: &[(String, Json)]) -> Result<()> {
    for (key, json) in overrides {
        metadata.set(key.clone(), value(key, json)?);
    }
    Ok(())
}

pub(super) fn value(key: &str, json: &Json) -> Result<Value> {
    Value::from_json(json).map_err(|e| LlamaError::config(key, e.expected(), e.found()))
}

/// Reads one of our keys in any accepted spelling and hands key and value on.
fn find<'a>(metadata: &'a Metadata, arch: Architecture, name: &str) -> Option<(String, &'a Value)> {
    let spellings = [format!("{}.attention.{name}", arch.name()), format!("{}.{name}", arch.name())];
    spellings.into_iter().find_map(|key| metadata.get(&key).map(|value| (key, value)))
}

fn number(found: Option<(String, &Value)>, metadata: &Metadata) -> Result<Option<f32>> {
    found.map(|(key, _)| Ok(metadata.need::<f32>(&key)?)).transpose()
}

/// A flag; old configurations write it as a number.
fn flag(found: Option<(String, &Value)>, metadata: &Metadata) -> Result<Option<bool>> {
    let Some((key, value)) = found else { return Ok(None) };
    match value {
        Value::Bool(b) => Ok(Some(*b)),
        _ => Ok(Some(metadata.need::<i64>(&key)? != 0)),
    }
}

impl Config {
    /// Lets our explicit keys win over what was mapped by convention.
    pub(super) fn apply_explicit(&mut self, metadata: &Metadata) -> Result<()> {
        let find = |name| find(metadata, self.architecture, name);
        if let Some((key, _)) = find("chunk_size") {
            self.attention_chunk_size = Some(metadata.need::<usize>(&key)?).filter(|&n| n > 0);
        }
        if let Some(on) = flag(find("qk_norm"), metadata)? {
            self.qk_norm = on;
        }
        let tuning = flag(find("temperature_tuning"), metadata)?;
        let floor_scale = number(find("temperature_floor_scale"), metadata)?;
        let scale = number(find("temperature_scale"), metadata)?;
        let base = match tuning {
            Some(true) => Some(self.temperature.unwrap_or(TEMPERATURE)),
            Some(false) => None,
            None => self.temperature,
        };
        self.temperature = base.map(|t| Temperature {
            floor_scale: floor_scale.unwrap_or(t.floor_scale),
            scale: scale.unwrap_or(t.scale),
        });
        if let Some((key, _)) = find("no_rope_layers") {
            let list = metadata.need::<Vec<u32>>(&key)?;
            self.rope_layers = rope_list(&key, &list, self.n_layers, NO_ROPE_INTERVAL)?;
            self.chunked_layers = self.rope_layers.clone();
        }
        Ok(())
    }
}

/// A `no_rope_layers` list, in which 1 means RoPE; an empty one means every layer but each `interval`-th.
pub(super) fn rope_list(key: &str, list: &[u32], n_layers: usize, interval: usize) -> Result<Vec<bool>> {
    if list.is_empty() {
        return Ok(rope_pattern(n_layers, interval));
    }
    if list.len() < n_layers {
        return Err(LlamaError::config(key, format!("{n_layers} entries"), list.len()));
    }
    let list = list.get(..n_layers).unwrap_or_default();
    if let Some(bad) = list.iter().find(|&&v| v > 1) {
        return Err(LlamaError::config(key, "entries 0 (NoPE) or 1 (RoPE)", bad));
    }
    Ok(list.iter().map(|&v| v == 1).collect())
}
