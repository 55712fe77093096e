//! Hugging Face folders with damaged, missing or contradictory files.

use super::{Refused, assert_clear, options};
use puna::{ErrorKind, Message, Model, SessionOptions};
use puna_testkit::ModelDir;
use puna_testkit::goldens::{Golden, Rounding};
use serde_json::{Value, json};
use std::fs;

/// A folder of three shards that works.
fn good() -> ModelDir {
    Golden::load("scout").folder(Rounding::F32, 3)
}

fn text(folder: &ModelDir, name: &str) -> String {
    fs::read_to_string(folder.directory().join(name)).unwrap()
}

fn change(folder: &ModelDir, name: &str, change: impl FnOnce(&mut Value)) {
    let mut json: Value = serde_json::from_str(&text(folder, name)).unwrap();
    change(&mut json);
    folder.write(name, json.to_string().as_bytes());
}

#[test]
fn the_folder_they_are_made_of_is_good() {
    Model::open(good().path(), &options()).unwrap();
}

#[test]
fn configurations() {
    let mut refused = Refused::new();
    let folder = good();
    let whole = text(&folder, "config.json");
    for (what, bytes) in [
        ("empty", &b""[..]),
        ("no JSON", b"hidden_size: 64"),
        ("cut", &whole.as_bytes()[..whole.len() / 2]),
        ("a list", b"[1, 2]"),
        ("not UTF-8", b"{\"model_type\": \"\xff\xfe\"}"),
        ("a key twice", b"{\"hidden_size\": 1, \"hidden_size\": 2}"),
    ] {
        folder.write("config.json", bytes);
        refused.path(what, folder.path(), ErrorKind::BadFile, &["config.json"]);
    }
    let nested = "[".repeat(100_000);
    folder.write("config.json", nested.as_bytes());
    let error = Model::open(folder.path(), &options()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BadFile | ErrorKind::Limit), "deep nesting: {error}");
    folder.write("config.json", whole.as_bytes());

    let bad = ErrorKind::BadFile;
    for (key, value, kind, name) in [
        ("hidden_size", json!("absent"), bad, "hidden_size"),
        ("num_hidden_layers", json!("absent"), bad, "num_hidden_layers"),
        ("vocab_size", json!("absent"), bad, "vocab_size"),
        ("num_attention_heads", json!("absent"), bad, "num_attention_heads"),
        ("hidden_size", json!("64"), bad, "hidden_size"),
        ("hidden_size", json!(64.5), bad, "hidden_size"),
        ("hidden_size", json!(-64), bad, "hidden_size"),
        ("hidden_size", json!(48), bad, "embed_tokens"),
        ("num_hidden_layers", json!(0), bad, "0"),
        ("num_hidden_layers", json!(1e15), bad, "num_hidden_layers"),
        ("num_hidden_layers", json!(6), bad, "6"),
        ("num_attention_heads", json!(0), bad, "head"),
        ("num_key_value_heads", json!(3), bad, "head"),
        ("head_dim", json!(0), bad, "head"),
        ("num_experts_per_tok", json!(9), bad, "9"),
        ("num_experts_per_tok", json!(0), bad, "expert"),
        ("num_local_experts", json!(3), bad, "router"),
        ("moe_layers", json!([0, 77]), bad, "moe_layers"),
        ("no_rope_layers", json!([1, 0]), bad, "no_rope_layers"),
        ("no_rope_layers", json!([1, 1, 1, 7, 1]), bad, "no_rope_layers"),
        ("attention_chunk_size", json!("big"), bad, "attention_chunk_size"),
        ("rms_norm_eps", json!(0), bad, "epsilon"),
        ("floor_scale", json!(0), bad, "floor"),
        ("max_position_embeddings", json!(0), bad, "context"),
        ("bos_token_id", json!(128), bad, "128"),
        ("eos_token_id", json!([2, 9999]), bad, "9999"),
        ("hidden_act", json!("gelu"), ErrorKind::Unsupported, "hidden_act"),
        ("model_type", json!("mistral"), ErrorKind::Unsupported, "mistral"),
    ] {
        change(&folder, "config.json", |json| match value.as_str() {
            Some("absent") => drop(json.as_object_mut().unwrap().remove(key)),
            _ => json[key] = value.clone(),
        });
        refused.path(&format!("{key} = {value}"), folder.path(), kind, &[name]);
        folder.write("config.json", whole.as_bytes());
    }
    for (rope, kind, name) in [
        (json!({ "rope_type": "yarn", "rope_theta": 1e4 }), ErrorKind::Unsupported, "yarn"),
        (json!({ "rope_type": "llama3", "rope_theta": 1e4 }), bad, "factor"),
        (json!({ "rope_type": "default", "rope_theta": 0 }), bad, "theta"),
        (json!(7), bad, "rope_parameters"),
    ] {
        change(&folder, "config.json", |json| json["rope_parameters"] = rope.clone());
        refused.path(&format!("rope {rope}"), folder.path(), kind, &[name]);
        folder.write("config.json", whole.as_bytes());
    }
    change(&folder, "config.json", |json| json["model_type"] = json!("mistral"));
    refused.path("supported families", folder.path(), ErrorKind::Unsupported, &["llama4", "SmolLM2"]);
    fs::remove_file(folder.directory().join("config.json")).unwrap();
    refused.path("none", folder.path(), bad, &["config.json"]);
    assert!(refused.count >= 40, "{}", refused.count);
}

#[test]
fn safetensors_files() {
    let mut refused = Refused::new();
    let golden = Golden::load("odd");
    let folder = golden.folder(Rounding::F32, 1);
    const FILE: &str = "model.safetensors";
    let whole = fs::read(folder.directory().join(FILE)).unwrap();
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for cut in [0, 7, 8, 9, 8 + header / 2, 8 + header - 1, 8 + header, 8 + header + 1, whole.len() - 1] {
        folder.write(FILE, &whole[..cut]);
        refused.path(&format!("cut at {cut}"), folder.path(), ErrorKind::BadFile, &[FILE]);
    }
    for (what, len) in [("a header of everything", u64::MAX), ("a header past the end", whole.len() as u64)] {
        let mut bytes = whole.clone();
        bytes[..8].copy_from_slice(&len.to_le_bytes());
        folder.write(FILE, &bytes);
        let error = Model::open(folder.path(), &options()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BadFile | ErrorKind::Limit), "{what}: {error}");
    }
    // Changes of the header that keep its length.
    let replace = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let mut bytes = whole.clone();
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).expect(from);
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        folder.write(FILE, &bytes);
    };
    for (what, from, to, kind, name) in [
        ("bad JSON", "{\"", "{'", ErrorKind::BadFile, FILE),
        ("an unknown type", "\"F32\"", "\"F3X\"", ErrorKind::Unsupported, "F3X"),
        ("another name", "model.norm.weight", "model.n0rm.weight", ErrorKind::BadFile, "model.norm.weight"),
        (
            "another name",
            "layers.3.self_attn.q_proj",
            "layers.3.self_attn.z_proj",
            ErrorKind::BadFile,
            "layers.3.self_attn.q_proj",
        ),
        ("another shape", "[97,40]", "[40,97]", ErrorKind::BadFile, "embed_tokens"),
        ("offsets", "[0,", "[4,", ErrorKind::BadFile, FILE),
    ] {
        replace(from, to);
        refused.path(what, folder.path(), kind, &[name]);
    }
    fs::remove_file(folder.directory().join(FILE)).unwrap();
    refused.path("no weights", folder.path(), ErrorKind::Io, &[FILE]);
    assert!(refused.count >= 16, "{}", refused.count);
}

#[test]
fn indices() {
    let mut refused = Refused::new();
    const INDEX: &str = "model.safetensors.index.json";
    const LAST: &str = "model-00003-of-00003.safetensors";
    let folder = good();
    let whole = text(&folder, INDEX);
    for (what, bytes, kind) in [
        ("empty", "", ErrorKind::BadFile),
        ("no map", "{\"metadata\": {}}", ErrorKind::BadFile),
        ("a map of numbers", "{\"weight_map\": {\"a\": 1}}", ErrorKind::BadFile),
        ("a way out", "{\"weight_map\": {\"a\": \"../../etc/passwd\"}}", ErrorKind::BadFile),
        ("an absolute way out", "{\"weight_map\": {\"a\": \"/etc/passwd\"}}", ErrorKind::BadFile),
    ] {
        folder.write(INDEX, bytes.as_bytes());
        refused.path(what, folder.path(), kind, &[INDEX]);
    }
    folder.write(INDEX, whole.as_bytes());
    change(&folder, INDEX, |json| json["weight_map"]["model.layers.9.extra"] = LAST.into());
    refused.path("a tensor that is not there", folder.path(), ErrorKind::BadFile, &["model.layers.9.extra"]);
    folder.write(INDEX, whole.as_bytes());
    change(&folder, INDEX, |json| {
        json["weight_map"]["model.norm.weight"] = "model-00009-of-00003.safetensors".into()
    });
    refused.path(
        "a shard that is not there",
        folder.path(),
        ErrorKind::Io,
        &["model-00009-of-00003.safetensors"],
    );
    folder.write(INDEX, whole.as_bytes());
    fs::remove_file(folder.directory().join(LAST)).unwrap();
    refused.path("a lost shard", folder.path(), ErrorKind::Io, &[LAST]);
    assert_eq!(refused.count, 8);
}

#[test]
fn the_small_files_around() {
    let mut refused = Refused::new();
    for (name, bytes) in [
        ("tokenizer.json", &b"{"[..]),
        ("tokenizer.json", b"{\"model\": {\"type\": \"BPE\"}}"),
        ("tokenizer.json", b"\xff\xff"),
        ("tokenizer.model", b"not base64 at all\n"),
        ("tokenizer.model", b"AAAA zero\n"),
        ("tokenizer_config.json", b"[]"),
        ("generation_config.json", b"{\"eos_token_id\": \"two\"}"),
        ("chat_template.jinja", b"\xc3\x28"),
    ] {
        let folder = good();
        folder.write(name, bytes);
        refused.path(name, folder.path(), ErrorKind::BadFile, &[name]);
    }
    assert_eq!(refused.count, 8);

    // A template that does not parse is refused when it is used.
    let golden = Golden::load("llama3");
    let folder = golden.folder(Rounding::F32, 1);
    folder.write("chat_template.jinja", b"{% if %}");
    let model = Model::open(folder.path(), &options()).unwrap();
    let mut session = model.session(&SessionOptions::default()).unwrap();
    assert!(session.push(&[Message::user("x")]).is_err());
    session.push_tokens(&[1, 2]).unwrap();
    assert!(session.logits(&puna::Cancel::new()).is_ok());
    // Without a tokenizer.
    assert_clear("text", &session.push_text("x").unwrap_err(), ErrorKind::Unsupported, &["tokenizer"]);
}
