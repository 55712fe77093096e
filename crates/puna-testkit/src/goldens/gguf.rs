//! A golden model as a GGUF file, converted here and not by the code under test.

use super::{Golden, Rounding, Seeded, encode, number, rounded_to_bf16};
use puna_core::DType;
use puna_format::gguf::{GgufWriter, Value};
use serde_json::Value as Json;
use std::f64::consts::TAU;

/// A tensor as the file has it.
pub(super) struct Stored {
    name: String,
    /// Row-major; the file has it reversed.
    shape: Vec<usize>,
    dtype: DType,
    bytes: Vec<u8>,
}

/// The file, with what `more` adds to its metadata.
pub(super) fn file(golden: &Golden, rounding: Rounding, more: impl FnOnce(&mut GgufWriter)) -> Vec<u8> {
    let config = golden.text_config();
    let mut tensors: Vec<Stored> =
        golden.tensors.iter().flat_map(|tensor| convert(config, tensor, rounding)).collect();
    if let Some(divisors) = rope_divisors(config) {
        tensors.push(stored("rope_freqs.weight".into(), &[divisors.len()], &divisors, DType::F32));
    }
    let mut writer = GgufWriter::new();
    metadata(&mut writer, config, &golden.name);
    more(&mut writer);
    write(writer, &tensors)
}

/// Adds the tensors and ends the file.
pub(super) fn write(mut writer: GgufWriter, tensors: &[Stored]) -> Vec<u8> {
    for tensor in tensors {
        let ne: Vec<u64> = tensor.shape.iter().rev().map(|&n| n as u64).collect();
        writer.tensor(&tensor.name, &ne, tensor.dtype).expect("a tensor");
    }
    let mut stream = writer.start(Vec::new()).expect("a header");
    for tensor in tensors {
        stream.write(&tensor.name, &tensor.bytes).expect("a tensor's bytes");
    }
    stream.finish().expect("a whole file")
}

fn is_llama4(config: &Json) -> bool {
    config["model_type"] == "llama4_text"
}

fn metadata(writer: &mut GgufWriter, config: &Json, name: &str) {
    let arch = if is_llama4(config) { "llama4" } else { "llama" };
    let mut key = |name: &str, value: Value| {
        let name = if name.contains("general.") { name.into() } else { format!("{arch}.{name}") };
        writer.set(&name, value).expect("a key");
    };
    let size = |name: &str| Value::U32(number(&config[name]) as u32);
    let real = |name: &str| Value::F32(config[name].as_f64().expect("a number") as f32);
    key("general.architecture", arch.into());
    key("general.name", name.into());
    key("block_count", size("num_hidden_layers"));
    key("context_length", size("max_position_embeddings"));
    key("embedding_length", size("hidden_size"));
    key("attention.head_count", size("num_attention_heads"));
    key("attention.head_count_kv", size("num_key_value_heads"));
    key("attention.key_length", size("head_dim"));
    key("attention.value_length", size("head_dim"));
    key("attention.layer_norm_rms_epsilon", real("rms_norm_eps"));
    key("rope.dimension_count", size("head_dim"));
    key("rope.freq_base", Value::F32(rope(config, "rope_theta").expect("rope_theta") as f32));
    key("vocab_size", size("vocab_size"));
    if arch == "llama" {
        key("feed_forward_length", size("intermediate_size"));
        return;
    }
    key("feed_forward_length", size("intermediate_size_mlp"));
    key("expert_feed_forward_length", size("intermediate_size"));
    key("expert_count", size("num_local_experts"));
    key("expert_used_count", size("num_experts_per_tok"));
    key("interleave_moe_layer_step", size("interleave_moe_layer_step"));
    // From here on, what the format has no keys for.
    key("attention.chunk_size", Value::U32(config["attention_chunk_size"].as_u64().unwrap_or(0) as u32));
    key("attention.qk_norm", Value::Bool(config["use_qk_norm"] == true));
    let tuning = &config["attn_temperature_tuning"];
    key("attention.temperature_tuning", Value::Bool(*tuning == true || tuning.as_u64().unwrap_or(0) != 0));
    key("attention.temperature_floor_scale", real("floor_scale"));
    key("attention.temperature_scale", real("attn_scale"));
    let rope_layers: Vec<u32> = match &config["no_rope_layers"] {
        Json::Array(layers) if !layers.is_empty() => {
            layers.iter().map(|layer| number(layer) as u32).collect()
        }
        _ => (1..=number(&config["num_hidden_layers"])).map(|i| u32::from(i % 4 != 0)).collect(),
    };
    key("attention.no_rope_layers", rope_layers.into());
}

/// The tensors that one tensor of the folder becomes.
fn convert(config: &Json, tensor: &Seeded, rounding: Rounding) -> Vec<Stored> {
    let name = tensor.name.trim_start_matches("language_model.");
    let (shape, mut values) = (&tensor.shape[..], tensor.values());
    if rounding == Rounding::BF16 {
        values = rounded_to_bf16(&values);
    }
    let (layer, part) = match name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) {
        Some((layer, part)) => (format!("blk.{layer}."), part),
        None => (String::new(), name),
    };
    let matrix = rounding.dtype();
    let one = |to: &str, values: &[f32], dtype: DType| {
        vec![stored(format!("{layer}{to}.weight"), shape, values, dtype)]
    };
    let expert = |to: &str, columns: std::ops::Range<usize>| {
        let (shape, values) = transposed(shape, &values, columns);
        stored(format!("{layer}{to}.weight"), &shape, &values, matrix)
    };
    match part {
        "model.embed_tokens.weight" => one("token_embd", &values, matrix),
        "model.norm.weight" => one("output_norm", &values, DType::F32),
        "lm_head.weight" => one("output", &values, matrix),
        "input_layernorm.weight" => one("attn_norm", &values, DType::F32),
        "post_attention_layernorm.weight" => one("ffn_norm", &values, DType::F32),
        "self_attn.q_proj.weight" => one("attn_q", &paired(config, shape, values), matrix),
        "self_attn.k_proj.weight" => one("attn_k", &paired(config, shape, values), matrix),
        "self_attn.v_proj.weight" => one("attn_v", &values, matrix),
        "self_attn.o_proj.weight" => one("attn_output", &values, matrix),
        "feed_forward.router.weight" => one("ffn_gate_inp", &values, DType::F32),
        "feed_forward.shared_expert.gate_proj.weight" => one("ffn_gate_shexp", &values, matrix),
        "feed_forward.shared_expert.up_proj.weight" => one("ffn_up_shexp", &values, matrix),
        "feed_forward.shared_expert.down_proj.weight" => one("ffn_down_shexp", &values, matrix),
        "feed_forward.gate_proj.weight" | "mlp.gate_proj.weight" => one("ffn_gate", &values, matrix),
        "feed_forward.up_proj.weight" | "mlp.up_proj.weight" => one("ffn_up", &values, matrix),
        "feed_forward.down_proj.weight" | "mlp.down_proj.weight" => one("ffn_down", &values, matrix),
        "feed_forward.experts.gate_up_proj" => {
            let half = shape[2] / 2;
            vec![expert("ffn_gate_exps", 0..half), expert("ffn_up_exps", half..2 * half)]
        }
        "feed_forward.experts.down_proj" => vec![expert("ffn_down_exps", 0..shape[2])],
        other => panic!("no GGUF name for {other}"),
    }
}

/// A tensor in `dtype`, or in F32 where a row is no whole number of blocks.
pub(super) fn stored(name: String, shape: &[usize], values: &[f32], dtype: DType) -> Stored {
    let width = *shape.last().expect("a shape");
    let dtype = if dtype.row_bytes(width).is_some() { dtype } else { DType::F32 };
    Stored { name, shape: shape.to_vec(), dtype, bytes: encode(dtype, values, width) }
}

/// `columns` of `[experts, in, out]` as `[experts, columns, in]`.
fn transposed(shape: &[usize], values: &[f32], columns: std::ops::Range<usize>) -> ([usize; 3], Vec<f32>) {
    let (n, rows, width) = (shape[0], shape[1], shape[2]);
    let at = |expert: usize, row: usize, column: usize| values[(expert * rows + row) * width + column];
    let mut out = Vec::with_capacity(n * rows * columns.len());
    for expert in 0..n {
        for column in columns.clone() {
            out.extend((0..rows).map(|row| at(expert, row, column)));
        }
    }
    ([n, columns.len(), rows], out)
}

/// Rows of a query or key projection in the order of consecutive pairs. Llama 4 has it already; files of the older
/// family hold the two halves of each head one after the other: row `j` of the first half goes to `2j`, of the second to
/// `2j + 1`.
fn paired(config: &Json, shape: &[usize], values: Vec<f32>) -> Vec<f32> {
    if is_llama4(config) {
        return values;
    }
    let (head_dim, width) = (number(&config["head_dim"]), shape[1]);
    let rows: Vec<&[f32]> = values.chunks_exact(width).collect();
    let from = |row: usize| (row / head_dim) * head_dim + (row % head_dim) / 2 + (row % 2) * head_dim / 2;
    (0..shape[0]).flat_map(|row| rows[from(row)].iter().copied()).collect()
}

/// A parameter of RoPE in either style of keys.
fn rope(config: &Json, name: &str) -> Option<f64> {
    let places = [&config["rope_parameters"][name], &config["rope_scaling"][name], &config[name]];
    places.into_iter().find_map(Json::as_f64)
}

/// What each frequency is divided by under llama3 scaling.
fn rope_divisors(config: &Json) -> Option<Vec<f32>> {
    let factor = rope(config, "factor")?;
    let original = rope(config, "original_max_position_embeddings")?;
    let (low, high) = (rope(config, "low_freq_factor")?, rope(config, "high_freq_factor")?);
    let theta = rope(config, "rope_theta")?;
    let head_dim = number(&config["head_dim"]);
    let divisor = |pair: usize| {
        let wavelength = TAU * theta.powf(2.0 * pair as f64 / head_dim as f64);
        if wavelength < original / high {
            1.0
        } else if wavelength > original / low {
            factor
        } else {
            let smooth = (original / wavelength - low) / (high - low);
            1.0 / ((1.0 - smooth) / factor + smooth)
        }
    };
    Some((0..head_dim / 2).map(|pair| divisor(pair) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experts_are_transposed_one_by_one() {
        // Two experts of [2 in, 3 out].
        let values: Vec<f32> = (0..12u8).map(f32::from).collect();
        let (shape, out) = transposed(&[2, 2, 3], &values, 1..3);
        assert_eq!(shape, [2, 2, 2]);
        assert_eq!(out, [1.0, 4.0, 2.0, 5.0, 7.0, 10.0, 8.0, 11.0]);
    }

    #[test]
    fn halves_become_pairs() {
        let config = serde_json::json!({ "model_type": "llama", "head_dim": 4 });
        let values: Vec<f32> = (0..8u8).map(f32::from).collect();
        assert_eq!(paired(&config, &[8, 1], values), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }
}
