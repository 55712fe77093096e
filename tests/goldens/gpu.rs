//! Whole models on the GPU, opened as an application opens them: what transformers computes, what the processor says, and
//! how little it takes for a token.

use super::{exact, greedy_after, session, transformers, vision};
use puna::{DeviceKind, KvType, LoadOptions, Model, Placement, Sampling, SessionOptions};
use puna_testkit::goldens::{Golden, Rounding, VisionGolden};
use puna_tests::fetched::smollm2;
use std::path::{Path, PathBuf};

const GPU: DeviceKind = DeviceKind::Gpu(None);

#[test]
fn every_model() {
    for name in Golden::SHORT {
        let golden = Golden::load(name);
        let file = golden.gguf_file(Rounding::F32);
        let model = Model::open(file.path(), &exact(GPU)).unwrap();
        assert!(model.info().device.starts_with("gpu ") && model.info().placement.is_none());
        transformers::check(&format!("{name} on the GPU"), &model, &golden, golden.expected(Rounding::F32));
    }
}

/// Images too.
#[test]
fn a_model_that_can_see() {
    let golden = VisionGolden::load();
    let pair = golden.gguf_pair(Rounding::F32, "ln2");
    let options = exact(GPU).mmproj(pair.directory().join("mmproj.gguf"));
    let model = Model::open(pair.path(), &options).unwrap();
    let compiled = || {
        let session = model.session(&SessionOptions::default()).unwrap();
        session.counters().iter().find(|c| c.0 == "kernels compiled").map(|c| c.1)
    };
    let ready = compiled();
    vision::check(&golden, &model);
    // All that opening left to compile are the kernels of a cache in F32.
    assert!(compiled() <= ready.map(|n| n + 3), "{ready:?}, then {:?}", compiled());
}

/// The first tokens after a prompt, with keys and values in F16 as they are by default.
fn answer(path: &Path, options: LoadOptions, prompt: &str, n: usize) -> Vec<u32> {
    let model = Model::open(path, &options).unwrap();
    let mut session = model.session(&SessionOptions::default().context(256)).unwrap();
    session.push_text(prompt).unwrap();
    greedy_after(&mut session, n)
}

fn puna_tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/puna-cli/models/puna-tiny.gguf")
}

/// 64 greedy tokens of real weights are those of the processor, which does not round activations either.
#[test]
fn smollm2_says_the_same_as_on_the_processor() {
    let prompt = "The capital of France is";
    let expected = answer(&smollm2(), exact(DeviceKind::Cpu), prompt, 64);
    assert_eq!(answer(&smollm2(), exact(GPU), prompt, 64), expected);
}

/// 64 greedy tokens of a trained Llama 4 are too; with its routed experts on the processor as well.
#[test]
fn puna_tiny_says_the_same_as_on_the_processor() {
    let (path, prompt) = (puna_tiny(), "Once upon a time");
    let expected = answer(&path, exact(DeviceKind::Cpu), prompt, 64);
    assert_eq!(answer(&path, exact(GPU), prompt, 64), expected);
    let apart = exact(GPU).placement(Placement::device().experts_on_cpu());
    assert_eq!(answer(&path, apart, prompt, 64), expected);
}

/// What the device counts while `n` tokens are decoded.
fn counted(options: LoadOptions, n: u64) -> impl Fn(&str) -> u64 {
    let golden = Golden::load("maverick");
    let file = golden.gguf_file(Rounding::F32);
    let model = Model::open(file.path(), &options).unwrap();
    let mut session = session(&model, golden.prompt.len() + n as usize + 2, 512);
    session.push_tokens(&golden.prompt).unwrap();
    let mut answer = session.generate(&Sampling::default()).ignore_end();
    // The prompt's logits choose the first.
    answer.next().unwrap().unwrap();
    let before = answer.counters();
    for _ in 0..n {
        answer.next().unwrap().unwrap();
    }
    let after = answer.counters();
    move |name| {
        let at = |all: &[(&str, u64)]| all.iter().find(|(n, _)| *n == name).map_or(0, |(_, v)| *v);
        at(&after) - at(&before)
    }
}

/// A token is one submit and one read, and no read-back in a layer: not for the router either.
#[test]
fn work_per_token_is_bounded() {
    let golden = Golden::load("maverick");
    let file = golden.gguf_file(Rounding::F32);
    let apart = exact(GPU).placement(Placement::device().experts_on_cpu());
    let model = Model::open(file.path(), &apart).unwrap();
    let layers = model.info().layers as u64;
    let count = counted(exact(GPU), 8);
    assert_eq!((count("reads"), count("submits"), count("moves")), (8, 8, 0));
    let dispatches = count("dispatches");
    assert!(dispatches > 0 && dispatches <= 8 * (layers * 32 + 8), "{dispatches} dispatches");

    // With routed experts on the processor, one hop each way for a layer that has them.
    let plan = Model::plan(file.path(), &apart, &SessionOptions::default().kv(KvType::F32)).unwrap();
    let row = model.info().hidden as u64 * 4;
    let hops = (plan.cpu.moved_per_token + plan.device.moved_per_token) / row;
    assert!(hops > 0 && hops.is_multiple_of(2) && hops <= 2 * layers, "{hops}");
    let count = counted(apart, 8);
    assert_eq!((count("moves"), count("moved bytes")), (8 * hops, 8 * hops * row));
    assert_eq!(count("reads"), 8 * (hops / 2 + 1));
}
