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
