//! `puna eval` and the model inside the command: its scores may not fall.

use super::{text, tiny};
use puna_tests::cli::{Done, command, run};
use puna_tests::folder::Folder;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// What the first items of each skill must reach, in percent: an item or a few below what `puna eval --items 20` (of recall
/// `--items 8`) finds on these weights, in comments, since kernels round activations each in its way and some answers are
/// on the edge. To be raised with better weights.
const LEAST: [(&str, Option<u64>, f64); 13] = [
    ("chat", None, 70.0),        // 80
    ("system", None, 85.0),      // 95
    ("tools", None, 80.0),       // 90
    ("json", None, 90.0),        // 100
    ("guard", None, 90.0),       // 100
    ("digit", None, 85.0),       // 95
    ("shape", None, 90.0),       // 100
    ("bars", None, 90.0),        // 100
    ("number", None, 85.0),      // 95
    ("two", None, 60.0),         // 75
    ("recall", Some(128), 75.0), // 100
    ("recall", Some(256), 75.0), // 100
    ("recall", Some(512), 75.0), // 100
];
/// What of tool calls and JSON must be well-formed, likewise: 95 and 100 were found.
const WELL_FORMED: [(&str, f64); 2] = [("tools", 85.0), ("json", 90.0)];
/// What perplexity and bits a byte may be at most: 16.07 and 1.350 were found.
const TEXT: (f64, f64) = (17.0, 1.39);

/// Items of a skill, and of each length of recall.
const ITEMS: (u64, u64) = (20, 8);

fn eval(args: &[&str]) -> Done {
    run([&["eval"][..], args].concat())
}

fn rows(column: &Value) -> &Vec<Value> {
    column["skills"].as_array().unwrap()
}

#[test]
fn the_shipped_model_keeps_its_scores() {
    let skills = "text,chat,system,tools,json,guard,digit,shape,bars,number,two";
    let (items, of_length) = (ITEMS.0.to_string(), ITEMS.1.to_string());
    let mut all = eval(&["--json", "--items", &items, "--skill", skills]).json();
    let recall = eval(&["--json", "--items", &of_length, "--skill", "recall", "--context", "1300"]).json();
    assert_eq!(all["model"], "puna-tiny");
    let found = all["columns"][0]["skills"].as_array_mut().unwrap();
    found.extend(rows(&recall["columns"][0]).iter().cloned());
    let mut low = Vec::new();
    for (skill, length, least) in LEAST {
        let is = |row: &&Value| row["skill"] == skill && row["length"].as_u64() == length;
        let row = found.iter().find(is).unwrap_or_else(|| panic!("{skill} {length:?}"));
        let items = if length.is_some() { ITEMS.1 } else { ITEMS.0 };
        assert_eq!(row["items"].as_u64(), Some(items), "{row}");
        let reached = row["percent"].as_f64().unwrap();
        if reached < least {
            low.push(format!("{skill} {length:?}: {reached} of {least} %"));
        }
        let formed = row["well_formed"].as_u64().map(|formed| 100.0 * formed as f64 / items as f64);
        match (WELL_FORMED.iter().find(|(name, _)| *name == skill), formed) {
            (Some((_, least)), Some(formed)) if formed < *least => {
                low.push(format!("{skill}, well-formed: {formed} of {least} %"));
            }
            (expected, found) => assert_eq!(expected.is_some(), found.is_some(), "{row}"),
        }
    }
    assert!(low.is_empty(), "{low:#?}");
    let text = &found[0];
    assert_eq!(text["skill"], "text");
    let (perplexity, bits) = (text["perplexity"].as_f64().unwrap(), text["bits_per_byte"].as_f64().unwrap());
    assert!((1.0..TEXT.0).contains(&perplexity) && (0.1..TEXT.1).contains(&bits), "{text}");
    // Passages that do not fit the context are not counted as wrong.
    let long = found.iter().find(|row| row["length"] == 8192).unwrap();
    assert_eq!((&long["items"], &long["left_out"]), (&json!(0), &json!(4)));
    assert!(long["why"].as_str().unwrap().contains("1300"), "{long}");
}

/// Columns, as JSON and as a table, and the answers behind them.
#[test]
fn a_column_for_each_type() {
    let folder = Folder::new();
    let answers = folder.join("answers.jsonl");
    let args = ["--quant", "stored,Q4_0", "--skill", "json,digit", "--items", "3"];
    let out = eval(&[&args[..], &["--json", "--answers", text(&answers)]].concat()).json();
    let columns = out["columns"].as_array().unwrap();
    assert_eq!(columns.iter().map(|c| &c["type"]).collect::<Vec<_>>(), ["stored", "q4_0"]);
    let bytes = |i: usize| columns[i]["weight_bytes"].as_u64().unwrap();
    assert!(bytes(1) < bytes(0), "{out}");
    for column in columns {
        let skills: Vec<_> = rows(column).iter().map(|row| (&row["skill"], &row["items"])).collect();
        assert_eq!(skills, [(&json!("json"), &json!(3)), (&json!("digit"), &json!(3))]);
        assert!(rows(column)[0]["well_formed"].is_u64() && rows(column)[1].get("well_formed").is_none());
    }
    let lines = std::fs::read_to_string(&answers).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 12);
    let right = |kind: &str| lines.iter().filter(|l| l["type"] == kind && l["right"] == true).count() as u64;
    for column in columns {
        let sum: u64 = rows(column).iter().map(|row| row["right"].as_u64().unwrap()).sum();
        assert_eq!(sum, right(column["type"].as_str().unwrap()));
    }
    let table = eval(&args).ok();
    assert!(table.contains("stored") && table.contains("q4_0") && table.contains("well-formed"), "{table}");
}

/// The same answers from a GPU; few items, since the GPU of a test is often a software one.
#[test]
fn a_gpu_answers_alike() {
    let folder = Folder::new();
    let answers = |device: &str| {
        let file = folder.join("answers.jsonl");
        let exact = ["--kv", "f32", "--activations", "f32", "--device", device, "--answers", text(&file)];
        eval(
            &[&["--skill", "json,guard,digit,recall", "--items", "1", "--context", "600"], &exact[..]]
                .concat(),
        )
        .ok();
        std::fs::read_to_string(&file).unwrap()
    };
    let (gpu, cpu) = (answers("gpu"), answers("cpu"));
    assert_eq!(gpu.lines().count(), 6, "{gpu}");
    assert_eq!(gpu, cpu);
}

/// Another model takes what it can; what it cannot take is said, not counted.
#[test]
fn other_models_and_other_items() {
    let model = tiny();
    let model = text(model.path());
    let out = eval(&[model, "--items", "1", "--skill", "chat,json", "--json"]).json();
    assert_eq!(rows(&out["columns"][0])[0]["items"], 1);
    let why = eval(&[model, "--items", "1", "--skill", "digit"]).refusal();
    assert!(why.contains("no vision tower"), "{why}");
    let usage = eval(&["--skill", "digits"]).wrong_usage();
    assert!(usage.contains("digit, shape"), "{usage}");
    let usage = eval(&["--quant", "q9_9"]).wrong_usage();
    assert!(usage.contains("q4_k_m"), "{usage}");

    let folder = Folder::new();
    let line =
        r#"{"id":"a","skill":"greeting","messages":[{"role":"user","content":"Hello"}],"answer":"Hi"}"#;
    let items = folder.write("items.jsonl", line);
    let out = eval(&["--heldout", text(&items), "--json"]).json();
    assert_eq!(rows(&out["columns"][0])[0]["skill"], "greeting");
    for (broken, at) in [
        ("", "at least one item"),
        ("{}", "line 1"),
        ("\n{\"id\":\"a\",\"skill\":\"b\"}", "line 2"),
        (&line.replace("\"user\"", "\"nobody\""), "message 0"),
        (&line.replace("\"Hello\"", r#"[{"type":"image","path":"x@0+9"}]"#), "past the 0 bytes"),
        (&line.replace("\"Hello\"", r#"[{"type":"image","path":"x"}]"#), "NAME@OFFSET+BYTES"),
    ] {
        let items = folder.write("broken.jsonl", broken);
        let why = eval(&["--heldout", text(&items)]).refusal();
        assert!(why.contains(at), "{at} in {why}");
    }
}

/// From any folder, a command that was only installed has somebody to talk to.
#[test]
fn without_a_model_it_is_puna_tiny() {
    let folder = Folder::new();
    let picture = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/pictures/digit.png"));
    let picture = folder.write("digit.png", picture.unwrap());
    let question = ["--chat", "--prompt", "Which digit is written here?", "--image", text(&picture)];
    let mut puna = Command::new(command());
    let out = puna.arg("generate").args(question).current_dir(folder.path()).output().unwrap();
    assert_eq!(out.status.code(), Some(0));
    assert_eq!(String::from_utf8(out.stdout).unwrap().trim(), "2");
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(
        said.contains("puna-tiny") && said.contains("not an assistant") && said.lines().count() == 1,
        "{said}"
    );
}
