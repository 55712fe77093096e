//! `puna devices` and `--device`: what is there, what is chosen, and what is said when it is not.

use super::{puna, text, tiny};
use puna_tests::cli::run;
use puna_tests::npy;

const PROMPT: [&str; 6] = ["--tokens", "1,2,3,4", "--max-tokens", "16", "--ignore-eos", "--json"];

#[test]
fn devices_are_listed_as_they_are_named() {
    let out = run(["devices", "--json"]).json();
    assert!(out["cpu"]["threads"].as_u64().unwrap() >= 1, "{out}");
    assert_eq!(out["cpu"]["instruction_sets"][0], "scalar", "{out}");
    let gpus = out["gpus"].as_array().unwrap();
    assert!(!gpus.is_empty(), "these tests need a Vulkan driver; a software one will do");
    for (i, gpu) in gpus.iter().enumerate() {
        assert_eq!(gpu["index"], i);
        assert!(gpu["max_binding"].as_u64().unwrap() >= 128 << 20, "{gpu}");
    }
    let shown = run(["devices"]).ok();
    for gpu in gpus {
        assert!(shown.contains(gpu["name"].as_str().unwrap()), "{shown}");
    }
    assert!(shown.starts_with("cpu: ") && shown.contains("gpu:0: "), "{shown}");
}

#[test]
fn a_model_says_the_same_on_every_device() {
    let model = tiny();
    let tokens = |device: &str| {
        let args = ["--device", device, "--activations", "f32"];
        puna("generate", model.path(), &[&args[..], &PROMPT].concat()).json()["tokens"].clone()
    };
    let expected = tokens("reference");
    assert_eq!(expected.as_array().unwrap().len(), 16);
    for device in ["cpu", "gpu", "gpu:0"] {
        assert_eq!(tokens(device), expected, "{device}");
    }
    let out = model.directory().join("out.npy");
    let logits = |device: &str| {
        let args = ["--tokens", "5,6,7", "--device", device, "--activations", "f32", "--out", text(&out)];
        puna("logits", model.path(), &args).ok();
        npy::read(&out).1
    };
    let (on_cpu, on_gpu) = (logits("cpu"), logits("gpu"));
    puna_testkit::compare::assert_close("logits", &on_gpu, &on_cpu, 1e-4);
}

#[test]
fn a_missing_gpu_is_one_line_or_the_processor() {
    let model = tiny();
    let args = [&["--device", "gpu:99"][..], &PROMPT].concat();
    let line = puna("generate", model.path(), &args).refusal();
    assert!(line.contains("no GPU has index 99"), "{line}");
    let done = puna("generate", model.path(), &[&args[..], &["--cpu-fallback"]].concat());
    assert!(done.stderr.contains("warning: running on the processor, since"), "{done:?}");
    assert_eq!(done.json()["tokens"].as_array().unwrap().len(), 16);
    assert!(
        puna("generate", model.path(), &[&["--device", "cuda"][..], &PROMPT].concat())
            .wrong_usage()
            .contains("expected cpu, reference, gpu or gpu:INDEX")
    );
}

#[test]
fn a_plan_tells_what_each_device_takes() {
    let model = tiny();
    let plan = |args: &[&str]| puna("plan", model.path(), &[args, &["--json"]].concat()).json();
    let whole = plan(&["--device", "gpu"]);
    assert_eq!((&whole["device"]["total"], &whole["cpu"]["total"]), (&whole["total"], &0.into()));
    let split = plan(&["--placement", "experts=cpu"]);
    let held = |side: &str, what: &str| split[side][what].as_u64().unwrap();
    assert!(held("cpu", "weights") > 0 && held("device", "weights") > 0, "{split}");
    assert_eq!(held("cpu", "kv"), 0, "keys and values live with their layers: {split}");
    assert!(held("cpu", "moved_per_token") > 0 && held("device", "moved_per_token") > 0, "{split}");
    let budget = held("device", "total").to_string();
    let auto = plan(&["--placement", &format!("auto:{budget}")]);
    assert!(auto["device"]["total"].as_u64() <= budget.parse().ok(), "{auto}");
    let shown = puna("plan", model.path(), &["--placement", "layers=2"]).ok();
    assert!(shown.contains("processor") && shown.contains("rows that come from the other"), "{shown}");
    puna("plan", model.path(), &["--placement", "half"]).wrong_usage();
}

#[test]
fn bench_counts_what_a_token_takes() {
    let model = tiny();
    let args = ["-p", "8", "-n", "4", "-r", "1", "--json"];
    let bench = |more: &[&str]| puna("bench", model.path(), &[&args[..], more].concat()).json();
    let out = bench(&["--device", "gpu"]);
    let of = |out: &serde_json::Value, name: &str| out["results"][0]["per_token"][name].as_f64();
    assert_eq!((of(&out, "reads"), of(&out, "submits")), (Some(1.0), Some(1.0)), "{out}");
    assert!(of(&out, "dispatches").unwrap() > 10.0, "{out}");
    // Software drivers have timestamps; of others it is not known.
    let times = out["results"][0]["times"].as_array().unwrap();
    if puna::gpus().first().unwrap().software {
        assert!(times.iter().any(|t| t["op"] == "MatMul" && t["seconds"].as_f64() > Some(0.0)), "{out}");
    }
    let split = bench(&["--placement", "experts=cpu"]);
    assert!(of(&split, "moves").unwrap() >= 2.0, "{split}");
    assert!(split["results"][0]["placement"].as_str().unwrap().contains("routed experts of 0"), "{split}");
    assert_eq!(bench(&[])["results"][0]["per_token"], serde_json::json!({}));
}
