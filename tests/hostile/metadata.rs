//! Metadata that is missing, of a wrong type, out of range, or at odds with itself or the tensors.

use super::{Parts, Refused};
use puna::ErrorKind;

#[test]
fn keys_that_are_missing() {
    let mut refused = Refused::new();
    for key in [
        "general.architecture",
        "llama4.block_count",
        "llama4.context_length",
        "llama4.embedding_length",
        "llama4.expert_feed_forward_length",
        "llama4.attention.head_count",
        "llama4.attention.layer_norm_rms_epsilon",
    ] {
        refused.parts(&format!("no {key}"), &Parts::tiny().without(key), &[key]);
    }
    assert_eq!(refused.count, 7);
}

#[test]
fn keys_of_a_wrong_type() {
    let mut refused = Refused::new();
    for key in [
        "general.architecture",
        "llama4.block_count",
        "llama4.context_length",
        "llama4.embedding_length",
        "llama4.attention.head_count",
        "llama4.attention.head_count_kv",
        "llama4.attention.key_length",
        "llama4.attention.layer_norm_rms_epsilon",
        "llama4.attention.chunk_size",
        "llama4.attention.no_rope_layers",
        "llama4.attention.temperature_scale",
        "llama4.attention.qk_norm",
        "llama4.rope.freq_base",
        "llama4.rope.dimension_count",
        "llama4.expert_count",
        "llama4.expert_used_count",
        "llama4.vocab_size",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.merges",
        "tokenizer.ggml.token_type",
        "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.add_bos_token",
        "tokenizer.chat_template",
    ] {
        // A list of two flags is what none of them is.
        refused.parts(&format!("{key} of flags"), &Parts::tiny().set(key, vec![true, false]), &[key]);
    }
    refused.parts("text", &Parts::tiny().set("llama4.block_count", "four"), &["llama4.block_count"]);
    refused.parts("negative", &Parts::tiny().set("llama4.expert_count", -1i32), &["llama4.expert_count"]);
    refused.parts(
        "half",
        &Parts::tiny().set("llama4.embedding_length", 31.5f32),
        &["llama4.embedding_length"],
    );
    assert_eq!(refused.count, 26);
}

#[test]
fn numbers_out_of_range() {
    let mut refused = Refused::new();
    let cases: [(&str, u64, &[&str]); 31] = [
        ("llama4.block_count", 0, &["block_count", "found 0"]),
        ("llama4.block_count", 5, &["blk.4."]),
        ("llama4.block_count", 1 << 30, &["block_count", "1073741824"]),
        ("llama4.block_count", u64::MAX, &["block_count"]),
        ("llama4.embedding_length", 0, &["found 0"]),
        ("llama4.embedding_length", 33, &["33"]),
        ("llama4.embedding_length", 1 << 40, &["1099511627776"]),
        ("llama4.attention.head_count", 0, &["head"]),
        ("llama4.attention.head_count", 3, &["head"]),
        ("llama4.attention.head_count", 1 << 60, &["head"]),
        ("llama4.attention.head_count_kv", 0, &["head"]),
        ("llama4.attention.head_count_kv", 3, &["head"]),
        ("llama4.attention.value_length", 4, &["value_length"]),
        ("llama4.rope.dimension_count", 0, &["RoPE dimensions", "found 0"]),
        ("llama4.rope.dimension_count", 7, &["RoPE dimensions", "found 7"]),
        ("llama4.rope.dimension_count", 16, &["RoPE dimensions", "found 16"]),
        ("llama4.context_length", 0, &["context", "found 0"]),
        ("llama4.context_length", u64::MAX, &["context"]),
        ("llama4.expert_count", 0, &["blk.1.ffn_gate_inp.weight", "0 experts"]),
        ("llama4.expert_count", 5, &["blk.1.ffn_gate_exps.weight", "5"]),
        ("llama4.expert_count", u32::MAX as u64, &["expert", "4294967295"]),
        ("llama4.expert_used_count", 0, &["expert", "found 0"]),
        ("llama4.expert_used_count", 5, &["expert", "found 5"]),
        ("llama4.expert_feed_forward_length", 0, &["expert", "found 0"]),
        ("llama4.expert_feed_forward_length", 31, &["blk.1.ffn_", "31"]),
        ("llama4.feed_forward_length", 31, &["blk.0.ffn_gate.weight", "31"]),
        ("llama4.vocab_size", 0, &["vocab", "found 0"]),
        ("llama4.vocab_size", 262, &["262"]),
        ("llama4.vocab_size", 1 << 50, &["vocab"]),
        ("tokenizer.ggml.bos_token_id", 263, &["bos", "263"]),
        ("tokenizer.ggml.eos_token_id", u32::MAX as u64, &["eos", "4294967295"]),
    ];
    for (key, value, names) in cases {
        let what = format!("{key} = {value}");
        match refused_kind(key) {
            ErrorKind::BadFile => refused.parts(&what, &Parts::tiny().set(key, value), names),
            kind => refused.bytes(&what, Parts::tiny().set(key, value).bytes(), kind, names),
        }
    }
    refused.parts("experts not counted", &Parts::tiny().without("llama4.expert_count"), &["expert"]);
    for (head_dim, name) in [(0u64, "head"), (7, "7"), (1 << 40, "1099511627776")] {
        let keys = ["llama4.attention.key_length", "llama4.attention.value_length"];
        let parts = keys.iter().fold(Parts::tiny(), |parts, key| parts.set(key, head_dim));
        refused.parts(&format!("heads of {head_dim}"), &parts, &[name]);
    }
    assert_eq!(refused.count, cases.len() + 4);
}

/// Values that another model may have, but not one of ours.
fn refused_kind(key: &str) -> ErrorKind {
    match key {
        "llama4.attention.value_length" => ErrorKind::Unsupported,
        _ => ErrorKind::BadFile,
    }
}

#[test]
fn real_numbers_that_are_none() {
    let mut refused = Refused::new();
    for (key, name, values) in [
        (
            "llama4.attention.layer_norm_rms_epsilon",
            "epsilon",
            vec![0.0, -1e-5, 2.0, f32::NAN, f32::INFINITY],
        ),
        ("llama4.rope.freq_base", "theta", vec![0.0, -1.0, f32::NAN, f32::INFINITY]),
        ("llama4.attention.temperature_floor_scale", "floor", vec![0.0, -8192.0, f32::NAN]),
        ("llama4.attention.temperature_scale", "scale", vec![f32::NAN, f32::INFINITY]),
        ("llama4.rope.scaling.factor", "factor", vec![-1.0, f32::NAN]),
    ] {
        for value in values {
            refused.parts(&format!("{key} = {value}"), &Parts::tiny().set(key, value), &[name]);
        }
    }
    assert_eq!(refused.count, 16);
}

#[test]
fn lists_that_do_not_fit_the_layers() {
    let mut refused = Refused::new();
    let key = "llama4.attention.no_rope_layers";
    refused.parts("too short", &Parts::tiny().set(key, vec![1u32, 0]), &[key, "4", "2"]);
    refused.parts("no flags", &Parts::tiny().set(key, vec![1u32, 0, 2, 1]), &[key, "2"]);
    let key = "llama4.attention.sliding_window_pattern";
    refused.parts("windows", &Parts::tiny().set(key, vec![true; 3]), &[key, "4", "3"]);
    let key = "llama4.attention.head_count";
    refused.bytes(
        "per layer",
        Parts::tiny().set(key, vec![4u32, 4, 2, 4]).bytes(),
        ErrorKind::Unsupported,
        &[key],
    );
    assert_eq!(refused.count, 4);
}

#[test]
fn families_and_features_that_are_not_ours() {
    let mut refused = Refused::new();
    let mut unsupported = |parts: Parts, names: &[&str]| {
        refused.bytes(names[0], parts.bytes(), ErrorKind::Unsupported, names);
    };
    // The error says what would have been understood.
    unsupported(
        Parts::tiny().set("general.architecture", "qwen3moe"),
        &["qwen3moe", "llama4", "Scout", "SmolLM2"],
    );
    unsupported(Parts::tiny().set("general.architecture", ""), &["llama4"]);
    unsupported(Parts::tiny().set("llama4.rope.scaling.type", "yarn"), &["yarn", "llama4.rope.scaling.type"]);
    unsupported(Parts::tiny().set("tokenizer.ggml.model", "bert"), &["bert", "gpt2"]);
    unsupported(Parts::tiny().set("tokenizer.ggml.pre", "tekken"), &["tekken", "llama4"]);
    assert_eq!(refused.count, 5);
}
