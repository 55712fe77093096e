//! `puna tokenize` and `puna detokenize`, against Meta's own code.

use super::{puna, text, tiny};
use puna_testkit::ModelDir;
use puna_tests::fetched::fetched;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

#[test]
fn texts_of_every_source() {
    let model = tiny();
    let ids = |args: &[&str]| puna("tokenize", model.path(), args).json();
    let bytes = |s: &str| json!(s.bytes().collect::<Vec<u8>>());
    assert_eq!(ids(&["--text", "añ 1"]), bytes("añ 1"));
    assert_eq!(ids(&["--text", ""]), json!([]));
    model.write("t.txt", "two\nlines\n".as_bytes());
    let file = model.directory().join("t.txt");
    assert_eq!(ids(&["--file", text(&file)]), bytes("two\nlines\n"));
    let with_bos = ids(&["--text", "a", "--bos"]);
    assert_eq!(with_bos, json!([256, 97]));
    assert_eq!(ids(&["--text", "<|eot|>"]), bytes("<|eot|>"));
    assert_eq!(ids(&["--text", "<|eot|>", "--special"]), json!([261]));

    model.write("t.jsonl", b"\"a\"\n\"\\u00e4\\n\"\n\"\"\n");
    let lines = model.directory().join("t.jsonl");
    let out = puna("tokenize", model.path(), &["--jsonl", text(&lines)]).ok();
    assert_eq!(out, "[97]\n[195,164,10]\n[]\n");

    let back = puna("detokenize", model.path(), &["--tokens", "97,195,164,261"]).ok();
    assert_eq!(back.trim_end_matches('\n'), "aä<|eot|>");
}

/// A golden of `goldens/text.py`.
fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/text").join(name);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A few hundred strings in one run of the command: loading the file costs more than reading them.
#[test]
fn strings_as_meta_reads_them() {
    let folder = ModelDir::new("words");
    let lines = folder.directory().join("lines.jsonl");
    for (tokenizer, name, list, flags) in [
        ("llama4/tokenizer.model", "llama4.json", "plain", &[][..]),
        ("llama4/tokenizer.model", "llama4.json", "recognised", &["--special"]),
        ("llama3/tokenizer.model", "llama3.json", "plain", &[]),
    ] {
        let cases = golden(name)[list].as_array().unwrap().clone();
        let text_of = |case: &Value| match case["times"].as_u64() {
            Some(times) => json!(case["repeat"].as_str().unwrap().repeat(times as usize)),
            None => case["text"].clone(),
        };
        let all: String = cases.iter().map(|case| format!("{}\n", text_of(case))).collect();
        folder.write("lines.jsonl", all.as_bytes());
        let out =
            puna("tokenize", &fetched(tokenizer), &[&["--jsonl", text(&lines)][..], flags].concat()).ok();
        assert_eq!(out.lines().count(), cases.len(), "{name} {list}");
        for (line, case) in out.lines().zip(&cases) {
            let found: Value = serde_json::from_str(line).unwrap();
            // Some of the longest are recorded by their number and a hash only; those are the tokenizer's own tests.
            if let Some(ids) = case.get("ids") {
                assert_eq!(&found, ids, "{name} {list}: {}", text_of(case));
            }
        }
        assert!(cases.len() >= 20);
    }
}

#[test]
fn chats_as_meta_renders_them() {
    let folder = ModelDir::new("chats");
    let file = folder.directory().join("chat.json");
    let mut n = 0;
    for case in golden("chats.json").as_array().unwrap() {
        // The command has no flag for the other way to write tool calls.
        if case["tool_format"] != "json" {
            continue;
        }
        n += 1;
        folder.write("chat.json", case["messages"].to_string().as_bytes());
        let out = puna("tokenize", &fetched("llama4/tokenizer.model"), &["--messages", text(&file)]).json();
        assert_eq!(out, case["ids"], "{}", case["messages"]);
    }
    assert!(n >= 10, "{n}");
}
