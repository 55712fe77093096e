//! The published golden values of a model with every feature (Hugging Face and Meta agree on them to 1.5e-6).

use super::{exact, trace};
use puna::{DeviceKind, Model};
use puna_core::DType;
use puna_core::quant::quantize_row;
use puna_format::safetensors::{StDType, StWriter};
use puna_testkit::compare::{argmax, assert_close};
use puna_testkit::{ModelDir, seeded};
use serde_json::{Value, json};

const TOKENS: [u32; 11] = [3, 10, 17, 24, 31, 38, 45, 4, 11, 18, 25];
const ARGMAX: [u32; 11] = [41, 31, 19, 36, 8, 8, 8, 9, 41, 16, 16];

/// Position, the first eight logits, and the sum of all 48.
type Row = (usize, [f32; 8], f32);

const CASE_A: [Row; 4] = [
    (0, [-0.21067, 1.0877, 0.91979, -1.1453, -0.39758, -2.15099, 0.65458, 1.84843], 9.1381),
    (3, [1.51578, 0.6102, -1.04896, -3.46777, 0.58144, 0.09136, -0.20819, -2.87848], 2.3831),
    (4, [1.44381, 0.18989, -0.52502, -0.92124, 0.9676, 0.22237, -0.99042, -0.71528], 0.2824),
    (10, [0.59249, -0.13652, 1.51894, -0.09249, 0.80703, 0.13865, -0.31118, -0.49741], -2.905),
];
const CASE_B: [Row; 3] = [
    (3, [1.51089, 0.86706, -0.8164, -3.64606, 0.58502, -0.17737, -0.17129, -2.82611], 3.8138),
    (4, [1.46566, 0.1911, -0.53778, -0.93395, 0.95975, 0.21764, -0.99627, -0.74054], 0.2433),
    (10, [0.45823, -0.104, 1.59662, 0.00719, 0.64669, 0.04318, -0.33793, -0.38825], -2.856),
];
/// After layers 0, 1 and 2 at position 10, in case A.
const HIDDEN: [[f32; 4]; 3] = [
    [-0.9796, 1.54545, -0.52211, -0.8313],
    [2.2565, 2.52045, -1.02193, -2.01673],
    [0.75212, 2.34258, -1.18834, -3.06489],
];

/// Names, shapes, scale and offset, in the order of the tensor numbers.
fn tensors() -> Vec<(u32, String, Vec<u64>, f64, f64)> {
    let mut all = vec![(0, "model.embed_tokens.weight".to_string(), vec![48, 32], 1.0, 0.0)];
    for (layer, first) in [1, 10, 22, 31].into_iter().enumerate() {
        let mut t = first;
        let mut add = |name: &str, shape: &[u64], scale, offset| {
            all.push((t, format!("model.layers.{layer}.{name}"), shape.to_vec(), scale, offset));
            t += 1;
        };
        add("input_layernorm.weight", &[32], 0.2, 1.0);
        for (name, n) in [("q", 32), ("k", 16), ("v", 16), ("o", 32)] {
            add(&format!("self_attn.{name}_proj.weight"), &[n, 32], 0.4, 0.0);
        }
        add("post_attention_layernorm.weight", &[32], 0.2, 1.0);
        let ffn = |part: &str, name: &str| format!("feed_forward.{part}{name}_proj.weight");
        if layer % 2 == 0 {
            add(&ffn("", "gate"), &[24, 32], 0.4, 0.0);
            add(&ffn("", "up"), &[24, 32], 0.4, 0.0);
            add(&ffn("", "down"), &[32, 24], 0.4, 0.0);
        } else {
            add("feed_forward.router.weight", &[4, 32], 1.0, 0.0);
            add("feed_forward.experts.gate_up_proj", &[4, 32, 32], 0.4, 0.0);
            add("feed_forward.experts.down_proj", &[4, 16, 32], 0.4, 0.0);
            add(&ffn("shared_expert.", "gate"), &[16, 32], 0.4, 0.0);
            add(&ffn("shared_expert.", "up"), &[16, 32], 0.4, 0.0);
            add(&ffn("shared_expert.", "down"), &[32, 16], 0.4, 0.0);
        }
    }
    all.push((43, "model.norm.weight".to_string(), vec![32], 0.2, 1.0));
    all.push((44, "lm_head.weight".to_string(), vec![48, 32], 0.4, 0.0));
    all
}

fn config(rope: Value) -> Value {
    json!({
        "architectures": ["Llama4ForCausalLM"], "model_type": "llama4_text", "hidden_act": "silu",
        "vocab_size": 48, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 16, "intermediate_size_mlp": 24,
        "num_local_experts": 4, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2, "no_rope_layers": [],
        "attention_chunk_size": 4, "floor_scale": 4, "attn_scale": 0.1, "attn_temperature_tuning": true,
        "rms_norm_eps": 1e-5, "use_qk_norm": true, "tie_word_embeddings": false, "attention_bias": false,
        "max_position_embeddings": 64, "rope_parameters": rope
    })
}

/// The model as a folder.
pub(crate) fn folder(rope: Value) -> ModelDir {
    let mut writer = StWriter::new();
    let tensors = tensors();
    for (_, name, shape, ..) in &tensors {
        writer.tensor(name, shape, StDType::F32).unwrap();
    }
    let mut stream = writer.start(Vec::new()).unwrap();
    for (t, name, shape, scale, offset) in &tensors {
        let values = seeded::weights(*t, shape.iter().product::<u64>() as usize, *scale, *offset);
        let mut bytes = vec![0; values.len() * 4];
        quantize_row(DType::F32, &values, None, &mut bytes).unwrap();
        stream.write(name, &bytes).unwrap();
    }
    let folder = ModelDir::new("sheet");
    folder.write("model.safetensors", &stream.finish().unwrap());
    folder.write("config.json", config(rope).to_string().as_bytes());
    folder
}

pub(crate) fn default_rope() -> Value {
    json!({ "rope_type": "default", "rope_theta": 10000.0 })
}

fn check(rope: Value, golden: &[Row], hidden: Option<[[f32; 4]; 3]>) {
    let folder = folder(rope);
    for device in [DeviceKind::Reference, DeviceKind::Cpu] {
        let model = Model::open(folder.path(), &exact(device)).unwrap();
        // In one pass, and six tokens and then one by one.
        for batch in [11, 6, 1] {
            let found = trace(&model, &TOKENS, batch);
            for (position, first, sum) in golden {
                let row = &found.logits[*position];
                assert_close(&format!("{device:?}: logits at {position}"), &row[..8], first, 2e-5);
                let off = (row.iter().sum::<f32>() - sum).abs();
                assert!(off < 2e-4, "{device:?}: sum of logits at {position} is off by {off}");
            }
            assert_eq!(found.logits.iter().map(|row| argmax(row)).collect::<Vec<_>>(), ARGMAX);
            for (layer, row) in hidden.iter().flatten().enumerate() {
                let what = format!("{device:?}: hidden state after layer {layer}");
                assert_close(&what, &found.hidden[layer][10][..4], row, 2e-5);
            }
        }
    }
}

#[test]
fn default_rope_golden() {
    check(default_rope(), &CASE_A, Some(HIDDEN));
}

#[test]
fn scaled_rope_golden() {
    let rope = json!({
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 16.0, "low_freq_factor": 1.0,
        "high_freq_factor": 1.0, "original_max_position_embeddings": 64
    });
    check(rope, &CASE_B, None);
}
