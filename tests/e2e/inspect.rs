//! `puna inspect`: the configuration as understood, the layer table, tensors, bytes by type.

use super::{puna, tiny};
use puna_testkit::ModelDir;
use puna_testkit::goldens::{Golden, Rounding};
use puna_tests::fetched::smollm2;
use serde_json::json;

#[test]
fn json_of_a_llama_4() {
    let model = tiny();
    let out = puna("inspect", model.path(), &["--json"]).json();
    let config = &out["config"];
    assert_eq!(config["architecture"], "llama4");
    assert_eq!(
        (&config["n_layers"], &config["n_experts"], &config["vocab_size"]),
        (&json!(4), &json!(4), &json!(263))
    );
    assert_eq!(config["attention_chunk_size"], 16);
    let layers = out["layers"].as_array().unwrap();
    let moe: Vec<bool> = layers.iter().map(|l| l["moe"].as_bool().unwrap()).collect();
    let rope: Vec<bool> = layers.iter().map(|l| l["rope"].as_bool().unwrap()).collect();
    assert_eq!((moe, rope), (vec![false, true, false, true], vec![true, true, true, false]));
    let tensors = out["tensors"].as_array().unwrap();
    let bytes: u64 = tensors.iter().map(|t| t["bytes"].as_u64().unwrap()).sum();
    assert_eq!(out["bytes_by_type"]["F32"], json!({ "tensors": tensors.len(), "bytes": bytes }));

    let changed = ["--json", "--override", "llama4.attention.no_rope_layers=[0,1,1,1]"];
    let out = puna("inspect", model.path(), &changed).json();
    assert_eq!((&out["layers"][0]["rope"], &out["layers"][3]["rope"]), (&json!(false), &json!(true)));
}

#[test]
fn folders_and_files_agree() {
    for name in Golden::SHORT {
        let golden = Golden::load(name);
        let file = puna("inspect", golden.gguf_file(Rounding::F32).path(), &["--json"]).json();
        let folder = puna("inspect", golden.folder(Rounding::F32, 2).path(), &["--json"]).json();
        assert_eq!(file["layers"], folder["layers"], "{name}");
        assert_eq!(file["layers"].as_array().unwrap().len(), golden.text_config()["num_hidden_layers"]);
    }
}

#[test]
fn text_for_people() {
    let out = puna("inspect", &smollm2(), &[]).ok();
    for part in ["llama", "Q4_1", "token_embd.weight", "dense"] {
        assert!(out.contains(part), "{part} in:\n{out}");
    }
}

/// A file of another family is shown as far as it goes; one that is none is refused.
#[test]
fn other_families() {
    let mut writer = puna_format::gguf::GgufWriter::new();
    writer.set("general.architecture", "mamba").unwrap();
    writer.tensor("a", &[4], puna_core::DType::F32).unwrap();
    let mut stream = writer.start(Vec::new()).unwrap();
    stream.write("a", &[0; 16]).unwrap();
    let folder = ModelDir::new("mamba");
    folder.write("mamba.gguf", &stream.finish().unwrap());
    let file = folder.pointing_at("mamba.gguf");
    let out = puna("inspect", file.path(), &["--json"]).json();
    let why = out["unsupported"].as_str().unwrap();
    assert!(why.contains("mamba") && why.contains("llama4"), "{why}");
    assert_eq!(out["tensors"][0]["name"], "a");
    let line = puna("generate", file.path(), &["--tokens", "1"]).refusal();
    assert!(line.contains("mamba") && line.contains("llama4"), "{line}");
}
