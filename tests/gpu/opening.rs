//! What opening a model on a GPU says when it works, when it does not, and when it is stopped.

use puna::{Cancel, DeviceKind, ErrorKind, LoadOptions, Model, Phase, Placement, Progress};
use puna::{Sampling, Session, SessionOptions};
use std::sync::{Arc, Mutex};

fn open(options: &LoadOptions) -> Result<Model, puna::Error> {
    Model::from_bytes(puna::tiny::gguf(7).unwrap(), options)
}

#[test]
fn the_model_says_what_runs_it() {
    let gpus = puna::gpus();
    assert!(!gpus.is_empty(), "these tests need a Vulkan driver; a software one will do");
    let model = open(&LoadOptions::default().device(DeviceKind::Gpu(Some(0)))).unwrap();
    let info = model.info();
    assert!(info.device.starts_with(&format!("gpu {}", gpus[0].name)), "{}", info.device);
    assert_eq!((&info.fallback, &info.placement), (&None, &None));
    let split = LoadOptions::default().placement(Placement::first_layers(1));
    let info = open(&split).unwrap().info().clone();
    assert!(info.device.starts_with("gpu ") && info.placement.unwrap().contains("1 of 4 layers"));
    // Everything on the processor needs no GPU.
    let info = open(&LoadOptions::default().placement(Placement::cpu())).unwrap().info().clone();
    assert!(info.device.starts_with("cpu ") && info.placement.is_none());
}

#[test]
fn the_processor_takes_over_only_where_it_may() {
    let missing = LoadOptions::default().device(DeviceKind::Gpu(Some(99)));
    for options in [missing.clone(), missing.clone().cpu_fallback(false)] {
        let error = open(&options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoDevice, "{error}");
    }
    let model = open(&missing.cpu_fallback(true)).unwrap();
    assert!(model.info().device.starts_with("cpu "));
    assert!(model.info().fallback.as_ref().unwrap().contains("no GPU has index 99"));
}

/// What is heard while a model is opened on a GPU, in order, and what comes of it when somebody stops at `at`.
fn heard(
    at: impl Fn(&Progress) -> bool + Send + Sync + 'static,
) -> (Result<Model, puna::Error>, Vec<Progress>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (keep, cancel) = (seen.clone(), Cancel::new());
    let stop = cancel.clone();
    let options = LoadOptions::default().device(DeviceKind::Gpu(None)).cancel(cancel).on_progress(move |p| {
        keep.lock().unwrap().push(p);
        if at(&p) {
            stop.cancel();
        }
    });
    let opened = open(&options);
    let seen = seen.lock().unwrap().clone();
    (opened, seen)
}

fn steps(seen: &[Progress], phase: Phase) -> Vec<u64> {
    seen.iter().filter(|p| p.phase == phase).map(|p| p.done).collect()
}

#[test]
fn an_upload_tells_how_far_it_is_and_can_be_stopped() {
    let (opened, seen) = heard(|p| p.done * 2 >= p.total);
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Cancelled);
    let steps = steps(&seen, Phase::Weights);
    assert!(steps.len() > 3 && steps.is_sorted() && steps.len() == seen.len(), "{steps:?}");
    let late = steps.iter().filter(|&&bytes| bytes * 2 >= seen[0].total).count();
    assert_eq!(late, 1, "nothing came after it: {steps:?}");
}

/// Compiled while the model is opened, told and stopped too; and no kernel is left for a prompt or a token.
#[test]
fn kernels_are_ready_before_the_first_token() {
    let (opened, seen) = heard(|p| p.phase == Phase::Kernels);
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(steps(&seen, Phase::Kernels).len(), 1);

    let (opened, seen) = heard(|_| false);
    let model = opened.unwrap();
    let (weights, kernels) = (steps(&seen, Phase::Weights), steps(&seen, Phase::Kernels));
    assert_eq!(weights.last(), Some(&seen[0].total));
    assert!(kernels.is_sorted() && kernels.last() == seen.last().map(|p| &p.total), "{kernels:?}");
    let mut session = model.session(&SessionOptions::default()).unwrap();
    let compiled =
        |session: &Session| session.counters().iter().find(|c| c.0 == "kernels compiled").unwrap().1;
    let ready = compiled(&session);
    assert!(ready >= seen.last().unwrap().total);
    for n in [1, 2, 40] {
        session.push_tokens(&vec![1; n]).unwrap();
        session
            .generate(&Sampling::default())
            .max_tokens(2)
            .ignore_end()
            .for_each(|token| drop(token.unwrap()));
    }
    assert_eq!(compiled(&session), ready);
}

/// More memory than a buffer may have is an error of its own, and the model goes on.
#[test]
fn memory_that_is_refused() {
    let (adapter, device, queue) = super::own_device();
    let options = puna::interop::on(LoadOptions::default(), &adapter, &device, &queue);
    let model = open(&options.clone().set("llama4.context_length", "4194304")).unwrap();
    let huge = SessionOptions::default().context(4 << 20).batch(4 << 20);
    assert_eq!(model.session(&huge).map(drop).unwrap_err().kind(), ErrorKind::OutOfMemory);
    let mut session = model.session(&SessionOptions::default()).unwrap();
    session.push_tokens(&[1, 2, 3]).unwrap();
    session.prefill(&Cancel::new()).unwrap();
}
