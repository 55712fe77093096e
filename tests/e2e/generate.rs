//! `puna generate`: prompts of every kind, JSON, sampling flags, determinism.

use super::{puna, text, tiny};
use puna_testkit::goldens::{Golden, Rounding};
use puna_tests::fetched::smollm2;
use serde_json::{Value, json};

fn ids(json: &Value) -> Vec<u32> {
    json.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn list(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

#[test]
fn greedy_tokens_of_a_golden() {
    let golden = Golden::load("scout");
    let (file, folder) = (golden.gguf_file(Rounding::BF16), golden.folder(Rounding::BF16, 2));
    let prompt = list(&golden.prompt);
    let expected = &golden.expected(Rounding::BF16).greedy;
    file.write("prompt.txt", prompt.as_bytes());
    let prompt_file = file.directory().join("prompt.txt");
    let n = expected.len().to_string();
    let flags =
        ["--max-tokens", &n, "--temp", "0", "--ignore-eos", "--json", "--kv", "f32", "--activations", "f32"];
    for (model, input) in [
        (file.path(), ["--tokens", &prompt]),
        (file.path(), ["--tokens-file", text(&prompt_file)]),
        (folder.path(), ["--tokens", &prompt]),
    ] {
        for device in [["--device", "cpu"], ["--device", "reference"]] {
            let out = puna("generate", model, &[&input[..], &flags, &device].concat()).json();
            assert_eq!(ids(&out["tokens"]), *expected, "{input:?} {device:?}");
            assert_eq!(out["prompt_tokens"], golden.prompt.len());
            assert_eq!(out["finish"], "max_tokens");
            assert!(out["prefill_s"].as_f64().unwrap() >= 0.0 && out["decode_s"].as_f64().unwrap() >= 0.0);
        }
    }
    // A folder's convention can be overridden: without chunks the same tokens are another computation.
    let other = ["--override", "llama4.attention.chunk_size=0"];
    let out = puna("generate", file.path(), &[&["--tokens", &prompt][..], &flags, &other].concat()).json();
    assert_ne!(ids(&out["tokens"]), *expected);
}

#[test]
fn json_has_the_documented_shape() {
    let model = tiny();
    let out =
        puna("generate", model.path(), &["--prompt", "Hello", "--max-tokens", "5", "--ignore-eos", "--json"]);
    assert!(out.stdout.ends_with("}\n") && out.stdout.lines().count() == 1, "{out:#?}");
    let out = out.json();
    let mut keys: Vec<&str> = out.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["decode_s", "finish", "prefill_s", "prompt_tokens", "text", "tokens"]);
    // BOS and five bytes.
    assert_eq!(out["prompt_tokens"], 6);
    assert_eq!(out["tokens"].as_array().unwrap().len(), 5);
    assert!(out["text"].is_string());
}

#[test]
fn plain_output_is_the_text_alone() {
    let model = tiny();
    let args = ["--prompt", "Hello", "--max-tokens", "5", "--ignore-eos"];
    let plain = puna("generate", model.path(), &[&args[..], &["--quiet"]].concat());
    assert_eq!(plain.stderr, "");
    let plain = plain.ok();
    let json = puna("generate", model.path(), &[&args[..], &["--json"]].concat()).json();
    assert_eq!(plain.trim_end_matches('\n'), json["text"].as_str().unwrap().trim_end_matches('\n'));
}

#[test]
fn prompts_from_files_and_ids_are_taken_as_they_are() {
    let model = tiny();
    model.write("prompt.txt", "Grüße".as_bytes());
    let file = model.directory().join("prompt.txt");
    let run = |args: &[&str]| {
        puna("generate", model.path(), &[args, &["--max-tokens", "8", "--ignore-eos", "--json"]].concat())
            .json()
    };
    let from_file = run(&["--file", text(&file)]);
    assert_eq!(from_file["tokens"], run(&["--prompt", "Grüße"])["tokens"]);
    // The same with its ids spelled out: BOS, then the bytes.
    let bytes: Vec<u32> = [256].into_iter().chain("Grüße".bytes().map(u32::from)).collect();
    assert_eq!(from_file["tokens"], run(&["--tokens", &list(&bytes)])["tokens"]);
    assert_eq!(from_file["prompt_tokens"], bytes.len());
    // Without BOS it is another prompt.
    assert_eq!(run(&["--tokens", &list(&bytes[1..])])["prompt_tokens"], bytes.len() - 1);
    // As a conversation it is longer.
    let chat = run(&["--prompt", "Grüße", "--chat"]);
    assert!(chat["prompt_tokens"].as_u64().unwrap() > bytes.len() as u64);
}

#[test]
fn seeds_and_threads() {
    let model = tiny();
    let run = |args: &[&str]| {
        let fixed = ["--prompt", "Once", "--max-tokens", "24", "--ignore-eos", "--json"];
        puna("generate", model.path(), &[&fixed[..], args].concat()).json()["tokens"].clone()
    };
    let sampled = ["--temp", "1.5", "--top-k", "50", "--top-p", "0.95", "--min-p", "0.01", "--seed", "42"];
    let first = run(&sampled);
    for threads in ["1", "2", "3"] {
        assert_eq!(run(&[&sampled[..], &["--threads", threads]].concat()), first, "{threads} threads");
    }
    let other = [&sampled[..8], &["--seed", "43"]].concat();
    assert_ne!(run(&other), first);
    assert_eq!(run(&["--temp", "0"]), run(&["--temp", "1", "--top-k", "1", "--seed", "9"]), "greedy");
}

#[test]
fn stops() {
    let model = tiny();
    let args = ["--prompt", "Once", "--max-tokens", "40", "--ignore-eos", "--json"];
    let whole = puna("generate", model.path(), &args).json();
    let text = whole["text"].as_str().unwrap();
    let stop: String = text.chars().skip(3).take(2).collect();
    let stopped = puna("generate", model.path(), &[&args[..], &["--stop", &stop]].concat()).json();
    assert_eq!(stopped["finish"], "stop_string");
    assert_eq!(stopped["text"].as_str().unwrap(), text.split_once(&stop).unwrap().0);
}

#[test]
fn real_weights_answer() {
    let model = smollm2();
    let ask = ["--prompt", "What is the capital of France?", "--chat", "--max-tokens", "40", "--json"];
    let out = puna("generate", &model, &ask).json();
    assert!(out["text"].as_str().unwrap().contains("Paris"), "{out}");
    assert_eq!(out["finish"], "end_of_turn", "{out}");
    let raw =
        puna("generate", &model, &["--prompt", "The capital of France is", "--max-tokens", "4", "--json"])
            .json();
    assert!(raw["text"].as_str().unwrap().contains("Paris"), "{raw}");
    assert_eq!(raw["prompt_tokens"], json!(5), "a file without BOS gets none");
}
