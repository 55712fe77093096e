//! The same through the command: exit status 1, one line on stderr that names the culprit, no panic.

use super::Parts;
use puna_format::gguf::{Array, Strings, Value};
use puna_testkit::ModelDir;
use puna_testkit::goldens::{Golden, Rounding};
use puna_tests::cli::{Done, run};
use std::ffi::OsString;
use std::path::Path;

/// Runs `puna COMMAND MODEL ARGS…`.
fn puna(command: &str, model: &Path, args: &[&str]) -> Done {
    let mut all: Vec<OsString> = vec![command.into(), model.into()];
    all.extend(args.iter().map(OsString::from));
    all.push("--quiet".into());
    run(all)
}

#[test]
fn bad_files() {
    let folder = ModelDir::new("command");
    let good = Parts::tiny().bytes();
    let merges = Value::Array(Array::String(Strings::from_strs(["nospace"]).unwrap()));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "empty.gguf"),
        ("text", b"hello".to_vec(), "text.gguf"),
        ("header", good[..30].to_vec(), "header.gguf"),
        ("half", good[..good.len() / 2].to_vec(), "half.gguf"),
        ("family", Parts::tiny().set("general.architecture", "gemma3").bytes(), "llama4"),
        ("layers", Parts::tiny().set("llama4.block_count", u32::MAX).bytes(), "block_count"),
        ("heads", Parts::tiny().set("llama4.attention.head_count", 0u32).bytes(), "head_count"),
        ("rope", Parts::tiny().set("llama4.rope.dimension_count", 7u32).bytes(), "RoPE"),
        ("context", Parts::tiny().set("llama4.context_length", 0u32).bytes(), "context"),
        ("experts", Parts::tiny().without("llama4.expert_count").bytes(), "expert"),
        ("used", Parts::tiny().set("llama4.expert_used_count", 9u32).bytes(), "expert"),
        ("bos", Parts::tiny().set("tokenizer.ggml.bos_token_id", 9999u32).bytes(), "9999"),
        ("merge", Parts::tiny().set("tokenizer.ggml.merges", merges).bytes(), "nospace"),
        ("norm", Parts::tiny().poke("output_norm.weight", 0, f32::NAN).bytes(), "output_norm.weight"),
        ("missing", Parts::tiny().without_tensor("blk.2.attn_v.weight").bytes(), "blk.2.attn_v.weight"),
        (
            "nan",
            Parts::tiny().poke("blk.0.attn_o.weight".replace("_o", "_output").as_str(), 0, f32::NAN).bytes(),
            "logits",
        ),
        // A name that would move the terminal's cursor.
        ("escape", Parts::tiny().set("general.architecture", "a\u{1b}[2J\nb").bytes(), "a"),
    ];
    for (name, bytes, culprit) in cases {
        let file = format!("{name}.gguf");
        folder.write(&file, &bytes);
        let path = folder.directory().join(&file);
        let line = puna("generate", &path, &["--tokens", "1,2,3", "--max-tokens", "2"]).refusal();
        assert!(line.contains(culprit), "{name}: {line}");
        assert!(!line.contains('\u{1b}'), "{name}: {line:?}");
    }
    let line = puna("generate", &folder.directory().join("absent.gguf"), &["--prompt", "x"]).refusal();
    assert!(line.contains("absent.gguf"), "{line}");
    let line = puna("generate", folder.directory(), &["--prompt", "x"]).refusal();
    assert!(line.contains("config.json"), "{line}");
}

#[test]
fn bad_folders() {
    let folder = Golden::load("tied").folder(Rounding::F32, 2);
    let config = std::fs::read(folder.directory().join("config.json")).unwrap();
    for (bytes, culprit) in [(&b"{"[..], "config.json"), (b"{\"model_type\": \"phi3\"}", "llama4")] {
        folder.write("config.json", bytes);
        let line = puna("generate", folder.path(), &["--tokens", "1"]).refusal();
        assert!(line.contains(culprit), "{line}");
    }
    folder.write("config.json", &config);
    let line = puna("generate", folder.path(), &["--prompt", "words"]).refusal();
    assert!(line.contains("tokenizer"), "{line}");
    std::fs::remove_file(folder.directory().join("model-00002-of-00002.safetensors")).unwrap();
    let line = puna("generate", folder.path(), &["--tokens", "1"]).refusal();
    assert!(line.contains("model-00002-of-00002.safetensors"), "{line}");
}

#[test]
fn bad_arguments_of_good_models() {
    let folder = ModelDir::new("arguments");
    folder.write("good.gguf", &Parts::tiny().bytes());
    folder.write("not-utf8.txt", b"caf\xe9");
    folder.write("empty.txt", b"");
    folder.write("ids.txt", b"1,2,x");
    let model = folder.directory().join("good.gguf");
    let file = |name: &str| folder.directory().join(name).to_str().unwrap().to_string();
    let refused = |args: &[&str], culprit: &str| {
        let line = puna("generate", &model, args).refusal();
        assert!(line.contains(culprit), "{args:?}: {line}");
    };
    refused(&["--tokens", "1,263"], "263");
    refused(&["--tokens", ""], "empty");
    refused(&["--file", &file("not-utf8.txt")], "not-utf8.txt");
    refused(&["--file", &file("absent.txt")], "absent.txt");
    refused(&["--prompt", &"long ".repeat(200), "--context", "64"], "64");
    refused(&["--prompt", "x", "--chat", "--template"], "template");
    refused(&["--prompt", "x", "--isa", "mmx"], "mmx");
    refused(&["--prompt", "x", "--override", "llama4.block_count=\"x\""], "llama4.block_count");
    refused(&["--prompt", "x", "--temp", "nan"], "temperature");
    let absent = folder.directory().join("no/such/folder/x.npy");
    let line = puna("logits", &model, &["--tokens", "1", "--out", absent.to_str().unwrap()]).refusal();
    assert!(line.contains("x.npy"), "{line}");
    let line = puna("dequant", &model, &["no.such.tensor", "--out", &file("x.npy")]).refusal();
    assert!(line.contains("no.such.tensor"), "{line}");
    let line = puna("perplexity", &model, &["--file", &file("empty.txt")]).refusal();
    assert!(line.contains("empty.txt") || line.contains("token"), "{line}");
    let line = puna("tokenize", &model, &["--messages", &file("ids.txt")]).refusal();
    assert!(line.contains("ids.txt"), "{line}");
    let line = puna("detokenize", &model, &["--tokens", "1,99999"]).refusal();
    assert!(line.contains("99999"), "{line}");
    // Wrong usage is another status.
    for args in [&["generate"][..], &["generate", "m"], &["frobnicate"], &["logits", "m", "--tokens", "1"]] {
        run(args).wrong_usage();
    }
    puna("generate", &model, &["--prompt", "x", "--tokens", "1"]).wrong_usage();
    puna("generate", &model, &["--prompt", "x", "--threads", "0"]).wrong_usage();
    puna("generate", &model, &["--prompt", "x", "--device", "abacus"]).wrong_usage();
}
