//! `puna inspect`: configuration as understood, layer table, tensors, bytes by type.

use crate::args::InspectArgs;
use crate::failure::{Context, Result};
use crate::load::file_options;
use crate::output::{self, size, table};
use puna::internal::{Listed, Package, formats, list_gguf};
use puna_core::ops::Window;
use puna_format::gguf::{Array, Gguf, Value as Meta};
use puna_format::{FileSource, Limits};
use puna_llama::{Config, LayerTable, VisionConfig};
use serde_json::{Value, json};
use std::path::Path;

/// Everything there is to show; a file of an unknown family has no model.
struct Shown {
    format: &'static str,
    metadata: Vec<(String, Value)>,
    tensors: Vec<Listed>,
    model: std::result::Result<(Config, LayerTable), String>,
    vision: Option<VisionConfig>,
}

pub(crate) fn run(args: &InspectArgs) -> Result<()> {
    let shown = look(args)?;
    if args.json { output::json(&as_json(&shown)) } else { output::text(&as_text(&args.model, &shown)) }
}

fn look(args: &InspectArgs) -> Result<Shown> {
    let package = Package::open(&args.model, &file_options(&args.files));
    if args.model.is_dir() {
        let package = package?;
        let model = (package.config().clone(), package.layers()?);
        return Ok(Shown {
            format: "safetensors",
            metadata: Vec::new(),
            tensors: package.list(),
            model: Ok(model),
            vision: package.vision().cloned(),
        });
    }
    // A GGUF file is shown as far as it parses, whatever its family.
    let file = FileSource::open(&args.model).at(args.model.display())?;
    let gguf = match Gguf::read(&file, &Limits::default()) {
        Ok(gguf) => gguf,
        Err(e) => return Err(package.err().map_or_else(|| e.into(), Into::into)),
    };
    let metadata = gguf.metadata.iter().map(|(key, value)| (key.to_string(), meta(value))).collect();
    if args.files.mmproj.is_some()
        && let Err(e) = package
    {
        // Which of the two files is to blame is in the error.
        return Err(e.into());
    }
    let parts = package.and_then(|p| Ok((p.list(), p.config().clone(), p.layers()?, p.vision().cloned())));
    Ok(match parts {
        Ok((tensors, config, layers, vision)) => {
            Shown { format: "gguf", metadata, tensors, model: Ok((config, layers)), vision }
        }
        Err(e) => Shown {
            format: "gguf",
            metadata,
            tensors: list_gguf(gguf.tensors.iter()),
            model: Err(e.to_string()),
            // A vision tower by itself is no model, but what it is can be said.
            vision: VisionConfig::from_gguf(&gguf.metadata).ok(),
        },
    })
}

/// A metadata value as JSON; long lists by their length.
fn meta(value: &Meta) -> Value {
    const LONG: usize = 64;
    match value {
        Meta::U8(n) => json!(n),
        Meta::I8(n) => json!(n),
        Meta::U16(n) => json!(n),
        Meta::I16(n) => json!(n),
        Meta::U32(n) => json!(n),
        Meta::I32(n) => json!(n),
        Meta::U64(n) => json!(n),
        Meta::I64(n) => json!(n),
        Meta::F32(n) => json!(short(*n)),
        Meta::F64(n) => json!(n),
        Meta::Bool(b) => json!(b),
        Meta::String(s) => json!(s),
        Meta::Array(a) if a.len() > LONG => json!(format!("{} values of type {}", a.len(), a.ty())),
        Meta::Array(a) => match a {
            Array::U8(v) => json!(v),
            Array::I8(v) => json!(v),
            Array::U16(v) => json!(v),
            Array::I16(v) => json!(v),
            Array::U32(v) => json!(v),
            Array::I32(v) => json!(v),
            Array::U64(v) => json!(v),
            Array::I64(v) => json!(v),
            Array::F32(v) => json!(v),
            Array::F64(v) => json!(v),
            Array::Bool(v) => json!(v),
            Array::String(v) => v.iter().collect(),
        },
    }
}

/// The shortest number that means this float: 0.1, not 0.10000000149011612.
fn short(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}

fn as_json(shown: &Shown) -> Value {
    let tensors: Vec<Value> = shown
        .tensors
        .iter()
        .map(|t| json!({"name": t.name, "type": t.format, "shape": t.shape, "bytes": t.bytes}))
        .collect();
    let by_type: serde_json::Map<String, Value> = formats(&shown.tensors)
        .into_iter()
        .map(|f| (f.format, json!({"tensors": f.tensors, "bytes": f.bytes})))
        .collect();
    let mut all = json!({
        "format": shown.format,
        "metadata": shown.metadata.iter().cloned().collect::<serde_json::Map<_, _>>(),
        "bytes": total(&shown.tensors),
        "parameters": parameters(&shown.tensors),
        "bytes_by_type": by_type,
        "tensors": tensors,
    });
    match &shown.model {
        Ok((config, layers)) => {
            all["config"] = config_json(config);
            all["layers"] = layers.iter().enumerate().map(|(i, layer)| layer_json(i, layer)).collect();
        }
        Err(why) => all["unsupported"] = json!(why),
    }
    if let Some(vision) = &shown.vision {
        all["vision"] = vision_json(vision);
    }
    all
}

fn vision_json(v: &VisionConfig) -> Value {
    json!({
        "n_layers": v.n_layers,
        "hidden": v.hidden,
        "n_heads": v.n_heads,
        "head_dim": v.head_dim(),
        "n_ff": v.n_ff,
        "image_size": v.image_size,
        "patch_size": v.patch_size,
        "pixel_shuffle": v.shuffle,
        "tile_tokens": v.tile_features(),
        "max_tiles": v.max_tiles,
        "adapter": [v.adapter_inner, v.adapter_out],
        "projected": v.projected,
        "norm_eps": short(v.norm_eps),
        "rope_theta": v.rope_theta,
        "image_mean": v.mean.map(short),
        "image_std": v.std.map(short),
    })
}

fn config_json(c: &Config) -> Value {
    json!({
        "architecture": c.architecture.name(),
        "n_layers": c.n_layers,
        "hidden": c.hidden,
        "n_heads": c.n_heads,
        "n_kv_heads": c.n_kv_heads,
        "head_dim": c.head_dim,
        "vocab_size": c.vocab_size,
        "context_length": c.context_length,
        "rms_eps": short(c.rms_eps),
        "rope_theta": c.rope.theta,
        "rope_dim": c.rope.n_rot,
        "rope_scaling": format!("{:?}", c.rope.scaling),
        "rope_pairs": format!("{:?}", c.rope.pairs),
        "attention_chunk_size": c.attention_chunk_size,
        "qk_norm": c.qk_norm,
        "temperature": c.temperature.map(|t| json!({"floor_scale": short(t.floor_scale), "scale": short(t.scale)})),
        "n_experts": c.n_experts,
        "n_experts_used": c.n_experts_used,
        "ff_dense": c.ff_dense,
        "ff_expert": c.ff_expert,
        "ff_shared": c.ff_shared,
        "tied_embeddings": c.tied_embeddings,
        "attention_bias": c.attention_bias,
        "bos": c.bos,
        "eos": c.eos,
    })
}

fn layer_json(i: usize, layer: &puna_llama::LayerKind) -> Value {
    let chunk = match layer.window {
        Window::Chunk(size) => Some(size),
        Window::Full => None,
    };
    json!({"layer": i, "rope": layer.rope, "chunk": chunk, "moe": layer.moe, "temperature": layer.temperature})
}

fn as_text(path: &Path, shown: &Shown) -> String {
    let mut out = format!("{}: {}\n", path.display(), shown.format);
    match &shown.model {
        Ok((config, layers)) => out += &model_text(config, layers),
        Err(why) => out += &format!("not a model this program runs: {why}\n"),
    }
    if let Some(vision) = &shown.vision {
        out += &fields("Vision tower", &vision_json(vision));
    }
    if !shown.metadata.is_empty() {
        out += "\nMetadata\n";
        let short = |value: &Value| {
            let text: String = value.to_string();
            if text.chars().count() > 100 { text.chars().take(99).chain(['…']).collect() } else { text }
        };
        out += &shown
            .metadata
            .iter()
            .map(|(key, value)| format!("  {key} = {}\n", short(value)))
            .collect::<String>();
    }
    out += "\nTensors\n";
    let row = |t: &Listed| vec![t.name.clone(), t.format.clone(), format!("{:?}", t.shape), size(t.bytes)];
    out += &table(&shown.tensors.iter().map(row).collect::<Vec<_>>());
    out += "\nBytes by type\n";
    let row = |f: puna::FormatUse| vec![f.format, format!("{} tensors", f.tensors), size(f.bytes)];
    out += &table(&formats(&shown.tensors).into_iter().map(row).collect::<Vec<_>>());
    let n = shown.tensors.len();
    let parameters = parameters(&shown.tensors) as f64 / 1e6;
    out + &format!("\n{n} tensors, {parameters:.1} M values, {}\n", size(total(&shown.tensors)))
}

fn model_text(config: &Config, layers: &LayerTable) -> String {
    let mut out = fields("Configuration", &config_json(config));
    out += "\nLayers\n";
    // Runs of equal layers in one line.
    let mut start = 0;
    for i in 0..layers.len() {
        if layers.get(i) == layers.get(i + 1) {
            continue;
        }
        if let Some(layer) = layers.get(i) {
            let range = if start == i { format!("{i}") } else { format!("{start}-{i}") };
            let position = if layer.rope { "rope" } else { "nope" };
            let window = match layer.window {
                Window::Chunk(size) => format!("chunks of {size}"),
                Window::Full => "full attention".to_string(),
            };
            let ffn = if layer.moe { "experts" } else { "dense" };
            let temperature = if layer.temperature { ", temperature" } else { "" };
            out += &format!("  {range}: {position}, {window}, {ffn}{temperature}\n");
        }
        start = i + 1;
    }
    out
}

/// A heading, and an object's fields.
fn fields(heading: &str, object: &Value) -> String {
    let rows = object.as_object().into_iter().flatten().map(|(key, value)| format!("  {key} = {value}\n"));
    format!("\n{heading}\n") + &rows.collect::<String>()
}

fn total(tensors: &[Listed]) -> u64 {
    tensors.iter().map(|t| t.bytes).sum()
}

fn parameters(tensors: &[Listed]) -> u64 {
    tensors.iter().map(|t| t.shape.iter().product::<u64>()).sum()
}
