//! What opening a model on a GPU says when it works, when it does not, and when it is stopped.

use puna::{Cancel, DeviceKind, ErrorKind, LoadOptions, Model, Phase, Placement, SessionOptions};
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

#[test]
fn an_upload_tells_how_far_it_is_and_can_be_stopped() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (keep, cancel) = (seen.clone(), Cancel::new());
    let stop = cancel.clone();
    let options = LoadOptions::default().device(DeviceKind::Gpu(None)).cancel(cancel).on_progress(move |p| {
        keep.lock().unwrap().push(p);
        if p.done * 2 >= p.total {
            stop.cancel();
        }
    });
    assert_eq!(open(&options).unwrap_err().kind(), ErrorKind::Cancelled);
    let seen = seen.lock().unwrap();
    let steps = seen.iter().filter(|p| p.phase == Phase::Weights).map(|p| p.done).collect::<Vec<_>>();
    assert!(steps.len() > 3 && steps.is_sorted(), "{steps:?}");
    assert!(steps.last().unwrap() * 2 <= seen[0].total + 2, "nothing came after it: {steps:?}");
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
