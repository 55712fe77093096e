//! Good configurations mapped as published, and bad ones refused with what, expected and found.

use super::{Config, RopeScaling, TEMPERATURE, override_metadata};
use crate::{Architecture, LayerKind, LayerTable, LlamaError, MemTensors};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use puna_core::ops::{Pairs, Temperature, Window};
use puna_format::gguf::Metadata;
use serde_json::{Value as Json, json};

/// `text` with the members of `changes`; a member whose value is the string "absent" is taken out.
fn with(mut text: Json, changes: Json) -> Json {
    let object = text.as_object_mut().unwrap();
    for (key, value) in changes.as_object().unwrap() {
        match value.as_str() {
            Some("absent") => object.remove(key),
            _ => object.insert(key.clone(), value.clone()),
        };
    }
    text
}

fn scout_text() -> Json {
    json!({
        "model_type": "llama4_text", "num_hidden_layers": 48, "hidden_size": 5120, "num_attention_heads": 40,
        "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 202048, "intermediate_size": 8192,
        "intermediate_size_mlp": 16384, "num_local_experts": 16, "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 1, "no_rope_layers": [], "attention_chunk_size": 8192, "use_qk_norm": true,
        "attn_temperature_tuning": 4, "floor_scale": 8192, "attn_scale": 0.1, "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0, "max_position_embeddings": 10485760, "hidden_act": "silu", "bos_token_id": 200000,
        "eos_token_id": [200001, 200007, 200008], "tie_word_embeddings": false,
        "rope_scaling": {
            "factor": 16.0, "low_freq_factor": 1.0, "high_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"
        }
    })
}

fn maverick_text() -> Json {
    with(
        scout_text(),
        json!({
            "num_local_experts": 128, "interleave_moe_layer_step": 2, "use_qk_norm": false, "rope_scaling": null,
            "attn_temperature_tuning": true, "max_position_embeddings": 1048576
        }),
    )
}

fn guard_text() -> Json {
    with(
        scout_text(),
        json!({
            "moe_layers": [], "num_local_experts": 0, "num_experts_per_tok": 0, "interleave_moe_layer_step": 0,
            "intermediate_size_mlp": 8192, "attention_chunk_size": null, "no_rope_layer_interval": 80
        }),
    )
}

fn nested(text: Json) -> Json {
    json!({ "model_type": "llama4", "text_config": text, "vision_config": {} })
}

fn dense() -> Json {
    json!({
        "model_type": "llama", "num_hidden_layers": 4, "hidden_size": 64, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 100, "intermediate_size": 96, "rms_norm_eps": 1e-5
    })
}

fn hf(json: &Json) -> Config {
    Config::from_hf(json, &[]).unwrap()
}

fn table(config: &Config) -> Vec<LayerKind> {
    LayerTable::from_config(config).unwrap().to_vec()
}

fn metadata(pairs: &[(&str, Json)]) -> Metadata {
    let mut metadata = Metadata::new();
    let pairs: Vec<(String, Json)> = pairs.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
    override_metadata(&mut metadata, &pairs).unwrap();
    metadata
}

fn scout_gguf() -> Metadata {
    metadata(&[
        ("general.architecture", json!("llama4")),
        ("llama4.block_count", json!(48)),
        ("llama4.context_length", json!(10485760)),
        ("llama4.embedding_length", json!(5120)),
        ("llama4.feed_forward_length", json!(16384)),
        ("llama4.expert_feed_forward_length", json!(8192)),
        ("llama4.attention.head_count", json!(40)),
        ("llama4.attention.head_count_kv", json!(8)),
        ("llama4.attention.key_length", json!(128)),
        ("llama4.attention.value_length", json!(128)),
        ("llama4.attention.layer_norm_rms_epsilon", json!(1e-5)),
        ("llama4.rope.freq_base", json!(500000.0)),
        ("llama4.rope.dimension_count", json!(128)),
        ("llama4.vocab_size", json!(202048)),
        ("llama4.expert_count", json!(16)),
        ("llama4.expert_used_count", json!(1)),
        ("llama4.interleave_moe_layer_step", json!(1)),
    ])
}

fn gguf(changes: &[(&str, Json)]) -> Result<Config, LlamaError> {
    let mut metadata = scout_gguf();
    for (key, value) in changes {
        if value == &json!("absent") {
            metadata.remove(key);
        } else {
            metadata.set_json(key, &value.to_string()).unwrap();
        }
    }
    let mut tensors = MemTensors::new();
    tensors.f32("output.weight", &[0], &[]);
    Config::from_gguf(&metadata, &tensors)
}

const ROPE: LayerKind = LayerKind { rope: true, window: Window::Chunk(8192), moe: true, temperature: false };
const NOPE: LayerKind = LayerKind { rope: false, window: Window::Full, moe: true, temperature: true };

#[test]
fn scout() {
    let config = hf(&nested(scout_text()));
    let llama3 = RopeScaling::Llama3 { factor: 16.0, low: 1.0, high: 1.0, original: 8192.0 };
    assert_eq!((&config.rope.scaling, config.rope.theta, config.rope.n_rot), (&llama3, 500_000.0, 128));
    assert_eq!(config.rope.pairs, Pairs::Interleaved);
    assert_eq!((config.qk_norm, config.temperature), (true, Some(TEMPERATURE)));
    assert_eq!((config.bos, config.eos.as_slice()), (Some(200_000), [200_001, 200_007, 200_008].as_slice()));
    for (i, layer) in table(&config).iter().enumerate() {
        assert_eq!(*layer, if i % 4 == 3 { NOPE } else { ROPE }, "layer {i}");
    }
    assert_eq!(hf(&scout_text()), config, "flat");
    assert_eq!(hf(&with(scout_text(), json!({ "no_rope_layers": null }))), config);
    let all = with(
        scout_text(),
        json!({
            "no_rope_layers": (0..48).map(|i| u32::from(i % 4 != 3)).collect::<Vec<_>>(),
            "layer_types": (0..48).map(|i| if i % 4 == 3 { "full_attention" } else { "chunked_attention" }).collect::<Vec<_>>(),
            "moe_layers": (0..48).collect::<Vec<_>>(),
            "rope_theta": "absent", "rope_scaling": "absent",
            "rope_parameters": { "rope_type": "llama3", "rope_theta": 500000.0, "factor": 16.0, "low_freq_factor": 1.0,
                "high_freq_factor": 1.0, "original_max_position_embeddings": 8192 },
        }),
    );
    assert_eq!(hf(&all), config, "new style");
    // GGUF has the scaling as a tensor.
    let found = gguf(&[]).unwrap();
    let rope = super::RopeConfig { scaling: RopeScaling::None, ..config.rope.clone() };
    assert_eq!(found, Config { rope, bos: None, eos: Vec::new(), ..config });
}

#[test]
fn maverick() {
    let config = hf(&nested(maverick_text()));
    assert_eq!((config.qk_norm, &config.rope.scaling, config.ff_dense), (false, &RopeScaling::None, 16384));
    for (i, layer) in table(&config).iter().enumerate() {
        let kind = if i % 4 == 3 { NOPE } else { ROPE };
        assert_eq!(*layer, LayerKind { moe: i % 2 == 1, ..kind }, "layer {i}");
    }
    let found =
        gguf(&[("llama4.expert_count", json!(128)), ("llama4.interleave_moe_layer_step", json!(2))]).unwrap();
    assert_eq!(table(&found), table(&config));
    assert!(!found.qk_norm);
}

#[test]
fn guard_4() {
    let kind = LayerKind { rope: true, window: Window::Full, moe: false, temperature: false };
    let config = hf(&nested(guard_text()));
    assert_eq!(table(&config), [kind; 48]);
    assert_eq!((config.n_experts, config.ff_dense, config.qk_norm), (0, 8192, true));
    let old = with(guard_text(), json!({ "num_local_experts": 16, "num_experts_per_tok": 1 }));
    assert_eq!(table(&hf(&old)), [kind; 48]);
    let dense = [("llama4.expert_count", json!(0)), ("llama4.attention.sliding_window", json!(0))];
    assert_eq!(table(&gguf(&dense).unwrap()), [kind; 48]);
}

#[test]
fn explicit_keys_win_over_conventions() {
    let config = gguf(&[
        ("llama4.attention.chunk_size", json!(32)),
        ("llama4.attention.temperature_tuning", json!(true)),
        ("llama4.temperature_floor_scale", json!(16)),
        ("llama4.attention.temperature_scale", json!(0.25)),
        ("llama4.attention.qk_norm", json!(false)),
        ("llama4.attention.no_rope_layers", json!((0..48).map(|i| i % 2).collect::<Vec<_>>())),
    ])
    .unwrap();
    assert_eq!(config.attention_chunk_size, Some(32));
    assert_eq!(config.temperature, Some(Temperature { floor_scale: 16.0, scale: 0.25 }));
    assert!(!config.qk_norm);
    let odd = table(&config);
    assert_eq!(odd[0], LayerKind { temperature: true, ..NOPE });
    assert_eq!(odd[1], LayerKind { window: Window::Chunk(32), ..ROPE });
    // 0 means no chunks, an empty list the default pattern, and a number is a flag.
    let config = gguf(&[
        ("llama4.chunk_size", json!(0)),
        ("llama4.temperature_tuning", json!(0)),
        ("llama4.no_rope_layers", json!([])),
    ])
    .unwrap();
    assert_eq!((config.attention_chunk_size, config.temperature), (None, None));
    assert_eq!(table(&config)[3], LayerKind { temperature: false, ..NOPE });
    // The same keys override a folder's configuration.
    let overrides = [
        ("llama4.attention.chunk_size".to_string(), json!(64)),
        ("rope_theta".to_string(), json!(1e4)),
        ("rope_scaling.factor".to_string(), json!(8)),
        ("text_config.use_qk_norm".to_string(), json!(false)),
    ];
    let config = Config::from_hf(&nested(scout_text()), &overrides).unwrap();
    assert_eq!((config.attention_chunk_size, config.rope.theta, config.qk_norm), (Some(64), 1e4, false));
    assert!(matches!(config.rope.scaling, RopeScaling::Llama3 { factor: 8.0, .. }));
    for (key, value) in
        [("llama4.rope.freq_base", json!(1)), ("a.b", json!(1)), ("llama4.qk_norm", json!(null))]
    {
        let error = Config::from_hf(&scout_text(), &[(key.to_string(), value)]).unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
}

/// A folder lists the tokens that end answers in any order; which is which, its vocabulary has said.
#[test]
fn written_ends_keep_their_names() {
    let config = Config { eos: alloc::vec![1, 7, 8], ..hf(&scout_text()) };
    let mut metadata = Metadata::new();
    metadata.set("tokenizer.ggml.eot_token_id", 8u32);
    metadata.set("tokenizer.ggml.eom_token_id", 7u32);
    crate::export::metadata(&config, &mut metadata);
    let ids = ["eos", "eot", "eom"]
        .map(|name| metadata.need::<u32>(&alloc::format!("tokenizer.ggml.{name}_token_id")));
    assert_eq!(ids.map(Result::unwrap), [1, 8, 7]);
}

#[test]
fn a_written_configuration_reads_back() {
    let mut configs = [scout_text(), maverick_text(), guard_text(), dense()].map(|json| hf(&json)).to_vec();
    let irregular: Vec<bool> = (0..48).map(|i| i % 5 == 1 || i % 7 == 2).collect();
    configs.push(Config { rope_layers: irregular, ..configs[0].clone() });
    for config in configs {
        let mut metadata = Metadata::new();
        crate::export::metadata(&config, &mut metadata);
        let mut tensors = MemTensors::new();
        if !config.tied_embeddings {
            tensors.f32("output.weight", &[0], &[]);
        }
        let mut read = Config::from_gguf(&metadata, &tensors).unwrap();
        // What tensors carry: the rotary scaling, the irregular patterns of experts, the row order.
        read.rope.scaling = config.rope.scaling.clone();
        read.rope.pairs = config.rope.pairs;
        assert_eq!(read, config);
    }
}

#[test]
fn dense_llama() {
    let config = hf(&dense());
    assert_eq!(config.architecture, Architecture::Llama);
    assert_eq!((config.head_dim, config.rope.n_rot, config.rope.theta), (16, 16, 10000.0));
    assert_eq!(config.rope.pairs, Pairs::Half);
    let kind = LayerKind { rope: true, window: Window::Full, moe: false, temperature: false };
    assert_eq!(table(&config), [kind; 4]);
    let config =
        hf(&with(dense(), json!({ "rope_scaling": { "type": "linear", "factor": 2.0 }, "head_dim": null })));
    assert_eq!(config.rope.scaling, RopeScaling::Linear { factor: 2.0 });
    let config =
        hf(&with(dense(), json!({ "rope_parameters": { "rope_type": "default", "rope_theta": 7.0 } })));
    assert_eq!((config.rope.scaling, config.rope.theta), (RopeScaling::None, 7.0));
}

#[test]
fn bad_folders_are_refused() {
    let scout = |changes| nested(with(scout_text(), changes));
    let dense = |changes| with(dense(), changes);
    let bad: Vec<(Json, &str)> = [
        (json!([]), "object"),
        (json!({}), "model_type"),
        (json!({ "model_type": 3 }), "model_type"),
        (json!({ "model_type": "mistral" }), "mistral"),
        (json!({ "model_type": "a\nb" }), "a\\nb"),
        (json!({ "model_type": "llama4" }), "text_config"),
        (json!({ "model_type": "llama4", "text_config": 3 }), "text_config"),
        (scout(json!({ "num_hidden_layers": "absent" })), "text_config.num_hidden_layers"),
        (scout(json!({ "num_hidden_layers": 0 })), "num_hidden_layers"),
        (scout(json!({ "num_hidden_layers": 4_000_000_000u32 })), "4000000000"),
        (scout(json!({ "num_hidden_layers": -1 })), "num_hidden_layers"),
        (scout(json!({ "num_hidden_layers": "48" })), "num_hidden_layers"),
        (scout(json!({ "hidden_size": 0 })), "hidden size"),
        (scout(json!({ "hidden_size": u64::MAX })), "hidden size"),
        (scout(json!({ "num_attention_heads": 0 })), "num_attention_heads"),
        (scout(json!({ "num_attention_heads": 1 << 23 })), "heads"),
        (scout(json!({ "num_key_value_heads": 7 })), "key/value heads"),
        (scout(json!({ "num_key_value_heads": 0 })), "key/value heads"),
        (scout(json!({ "head_dim": 0 })), "head size"),
        (scout(json!({ "head_dim": 127 })), "RoPE dimensions"),
        (scout(json!({ "vocab_size": 0 })), "vocabulary"),
        (scout(json!({ "vocab_size": 1u64 << 40 })), "vocabulary"),
        (scout(json!({ "vocab_size": 1000 })), "bos or eos"),
        (scout(json!({ "eos_token_id": "two" })), "eos_token_id"),
        (scout(json!({ "max_position_embeddings": 0 })), "context"),
        (scout(json!({ "max_position_embeddings": 1u64 << 50 })), "context"),
        (scout(json!({ "rms_norm_eps": 0.0 })), "epsilon"),
        (scout(json!({ "rms_norm_eps": -1e-5 })), "epsilon"),
        (scout(json!({ "rms_norm_eps": "small" })), "rms_norm_eps"),
        (scout(json!({ "rope_theta": 0 })), "theta"),
        (scout(json!({ "rope_theta": -5.0 })), "theta"),
        (scout(json!({ "rope_scaling": { "rope_type": "yarn", "factor": 2.0 } })), "yarn"),
        (scout(json!({ "rope_scaling": { "rope_type": "llama3" } })), "rope_scaling.factor"),
        (scout(json!({ "rope_scaling": { "rope_type": "linear", "factor": 0.0 } })), "factor"),
        (scout(json!({ "rope_scaling": 3 })), "rope_scaling"),
        (
            scout(json!({ "rope_scaling": { "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0,
                "high_freq_factor": 1.0, "original_max_position_embeddings": 8192 } })),
            "high_freq_factor",
        ),
        (scout(json!({ "partial_rotary_factor": 0.01 })), "RoPE dimensions"),
        (scout(json!({ "partial_rotary_factor": 1.5 })), "RoPE dimensions"),
        (scout(json!({ "num_experts_per_tok": 17 })), "experts per token"),
        (scout(json!({ "num_experts_per_tok": 0 })), "experts per token"),
        (scout(json!({ "num_local_experts": 1 << 20 })), "experts"),
        (scout(json!({ "intermediate_size": 0 })), "expert width"),
        (scout(json!({ "moe_layers": [48] })), "moe_layers"),
        (scout(json!({ "moe_layers": ["a"] })), "moe_layers"),
        (scout(json!({ "no_rope_layers": [1, 0] })), "no_rope_layers"),
        (scout(json!({ "no_rope_layers": [2] })), "no_rope_layers"),
        (scout(json!({ "layer_types": ["full_attention"] })), "layer_types"),
        (scout(json!({ "layer_types": alloc::vec!["sliding_attention"; 48] })), "sliding_attention"),
        (scout(json!({ "attention_chunk_size": 0 })), "chunk size"),
        (scout(json!({ "attention_chunk_size": "none" })), "attention_chunk_size"),
        (scout(json!({ "floor_scale": 0 })), "floor scale"),
        (scout(json!({ "hidden_act": "gelu" })), "gelu"),
        (dense(json!({ "mlp_bias": true })), "mlp_bias"),
        (dense(json!({ "intermediate_size": "absent" })), "intermediate_size"),
        (dense(json!({ "intermediate_size": 0 })), "feed-forward width"),
        (dense(json!({ "num_attention_heads": 64, "num_key_value_heads": 2 })), "RoPE dimensions"),
    ]
    .into();
    for (json, part) in &bad {
        let error = Config::from_hf(json, &[]).expect_err(&json.to_string()).to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{part}: {error}");
    }
}

#[test]
fn bad_metadata_is_refused() {
    let bad = [
        ("general.architecture", json!("absent"), "general.architecture"),
        ("general.architecture", json!("gemma3"), "supported are llama4"),
        ("general.architecture", json!(4), "general.architecture"),
        ("llama4.block_count", json!("absent"), "llama4.block_count"),
        ("llama4.block_count", json!(0), "llama4.block_count"),
        ("llama4.block_count", json!(4_000_000_000u32), "llama4.block_count"),
        ("llama4.block_count", json!("many"), "llama4.block_count"),
        ("llama4.embedding_length", json!(0), "hidden size"),
        ("llama4.attention.head_count", json!(0), "llama4.attention.head_count"),
        ("llama4.attention.head_count", json!("absent"), "llama4.attention.head_count"),
        ("llama4.attention.head_count", json!([40, 20]), "llama4.attention.head_count"),
        ("llama4.attention.head_count_kv", json!(3), "key/value heads"),
        ("llama4.attention.head_count_kv", json!([]), "llama4.attention.head_count_kv"),
        ("llama4.attention.value_length", json!(64), "llama4.attention.value_length"),
        (
            "llama4.attention.layer_norm_rms_epsilon",
            json!("absent"),
            "llama4.attention.layer_norm_rms_epsilon",
        ),
        ("llama4.attention.layer_norm_rms_epsilon", json!(0), "epsilon"),
        ("llama4.rope.dimension_count", json!(129), "RoPE dimensions"),
        ("llama4.rope.dimension_count", json!(130), "RoPE dimensions"),
        ("llama4.rope.freq_base", json!(-1.0), "theta"),
        ("llama4.rope.scaling.type", json!("yarn"), "yarn"),
        ("llama4.vocab_size", json!("absent"), "vocab_size"),
        ("llama4.vocab_size", json!(0), "vocabulary"),
        ("llama4.context_length", json!(0), "context"),
        ("llama4.expert_used_count", json!(17), "experts per token"),
        ("llama4.expert_feed_forward_length", json!("absent"), "llama4.expert_feed_forward_length"),
        ("llama4.attention.chunk_size", json!(-4), "llama4.attention.chunk_size"),
        ("llama4.attention.qk_norm", json!("yes"), "llama4.attention.qk_norm"),
        ("llama4.attention.no_rope_layers", json!([1, 1]), "llama4.attention.no_rope_layers"),
        ("llama4.attention.temperature_floor_scale", json!(0), "floor scale"),
        ("llama4.attention.sliding_window_pattern", json!([true]), "llama4.attention.sliding_window_pattern"),
        ("tokenizer.ggml.bos_token_id", json!(202_048), "bos or eos"),
    ];
    for (key, value, part) in bad {
        let error = gguf(&[(key, value.clone())]).expect_err(key).to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{key} {value}: {error}");
    }
    let mixtral: Vec<(String, Json)> = scout_gguf()
        .iter()
        .filter_map(|(key, _)| key.strip_prefix("llama4."))
        .map(|name| (name.to_string(), json!(8)))
        .collect();
    let mut metadata = metadata(&[("general.architecture", json!("llama"))]);
    for (name, value) in mixtral {
        metadata.set_json(&alloc::format!("llama.{name}"), &value.to_string()).unwrap();
    }
    let error = Config::from_gguf(&metadata, &MemTensors::new()).unwrap_err().to_string();
    assert!(error.contains("llama.expert_count"), "{error}");
}
