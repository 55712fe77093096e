//! Models written anew: what folders and files say survives, and what goes wrong leaves nothing behind.

use super::{assert_same, exact, trace};
use puna::{Cancel, DeviceKind, ErrorKind, LoadOptions, Model, QuantizeOptions, SessionOptions, quantize};
use puna_testkit::ModelDir;
use puna_testkit::goldens::{Golden, Rounding};
use puna_testkit::tolerance;
use puna_tests::fetched::smollm2;
use std::fs;

/// Every kind of layer, rope, expert and row order there is among the goldens.
#[test]
fn folders_written_as_floats_say_the_same() {
    let out = ModelDir::new("quantize-f32");
    for name in Golden::SHORT {
        let golden = Golden::load(name);
        let folder = golden.folder(Rounding::F32, 2);
        let path = out.directory().join(format!("{name}.gguf"));
        let done = quantize(folder.path(), &path, &QuantizeOptions::new("f32").unwrap()).unwrap();
        assert_eq!((&done.files[..], done.bits), (&[path.clone()][..], 32.0));
        let model = Model::open(&path, &exact(DeviceKind::Cpu)).unwrap();
        let found = trace(&model, &golden.prompt, 512);
        let expected =
            trace(&Model::open(folder.path(), &exact(DeviceKind::Cpu)).unwrap(), &golden.prompt, 512);
        assert_same(name, &found.logits, &expected.logits, tolerance::SPLIT);
    }
}

/// What is there already is copied bit for bit, in whatever number of files.
#[test]
fn files_in_their_own_format_are_copies() {
    let golden = Golden::load("scout");
    let file = golden.gguf_file(Rounding::Q8_0);
    let out = ModelDir::new("quantize-q8");
    let whole = out.directory().join("whole.gguf");
    let split = out.directory().join("split.gguf");
    let options = QuantizeOptions::new("q8_0").unwrap();
    quantize(file.path(), &whole, &options).unwrap();
    let done = quantize(file.path(), &split, &options.clone().split(20_000)).unwrap();
    assert!(done.files.len() > 2, "{:?}", done.files);
    assert!(done.files[0].ends_with(format!("split-00001-of-{:05}.gguf", done.files.len())));
    let logits = |path: &std::path::Path| {
        trace(&Model::open(path, &exact(DeviceKind::Cpu)).unwrap(), &golden.prompt, 512).logits
    };
    let expected = logits(file.path());
    // Rows that are no whole blocks have no Q8_0 and are F16 now, in the source as in the copy.
    assert_eq!(logits(&whole), expected);
    assert_eq!(logits(&done.files[1]), expected);
    // Another mix fits too, and the file that results is a model.
    for mix in ["q4_k_m", "iq4_xs", "mxfp4_moe", "tq2_0"] {
        let path = out.directory().join(format!("{mix}.gguf"));
        quantize(&whole, &path, &QuantizeOptions::new(mix).unwrap()).unwrap();
        assert!(logits(&path).iter().flatten().all(|v| v.is_finite()), "{mix}");
    }
}

/// A real model keeps its tokenizer, template and answers.
#[test]
fn a_real_model_goes_on_talking() {
    let out = ModelDir::new("quantize-real");
    let path = out.directory().join("smollm2.gguf");
    let done = quantize(smollm2(), &path, &QuantizeOptions::new("Q8_0").unwrap()).unwrap();
    assert!((8.5..8.6).contains(&done.bits), "{}", done.bits);
    assert_eq!(done.formats[0].format, "Q8_0");
    let answer = |path: &std::path::Path| {
        let model = Model::open(path, &LoadOptions::default().threads(2)).unwrap();
        let mut session = model.session(&SessionOptions::default().context(256)).unwrap();
        session.push(&[puna::Message::user("What is 2 + 2?")]).unwrap();
        session.generate(&puna::Sampling::default()).max_tokens(12).text().unwrap()
    };
    assert!(answer(&path).contains('4'), "{}", answer(&path));
}

#[test]
fn what_goes_wrong_leaves_nothing() {
    let golden = Golden::load("tied");
    let file = golden.gguf_file(Rounding::F32);
    let out = ModelDir::new("quantize-bad");
    let path = out.directory().join("out.gguf");
    let options = QuantizeOptions::new("q4_0").unwrap();
    assert_eq!(QuantizeOptions::new("q4_9").unwrap_err().kind(), ErrorKind::BadInput);

    let before = fs::read(file.path()).unwrap();
    let error = quantize(file.path(), file.path(), &options).unwrap_err();
    assert_eq!((error.kind(), fs::read(file.path()).unwrap() == before), (ErrorKind::BadInput, true));
    let error = quantize(file.path(), out.directory(), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadInput);
    // Nor another file of a split model, nor a file of a folder.
    let parts = ModelDir::new("quantize-parts");
    let first = parts.directory().join("m.gguf");
    let split = quantize(file.path(), &first, &options.clone().split(5_000)).unwrap().files;
    let error = quantize(&split[1], &first, &options.clone().split(5_000)).unwrap_err();
    assert!(error.to_string().contains("one of its files"), "{error}");
    let folder = golden.folder(Rounding::F32, 1);
    let weights = folder.directory().join("model.safetensors");
    let error = quantize(folder.path(), &weights, &options).unwrap_err();
    assert!(error.to_string().contains("one of its files"), "{error}");
    let error = quantize(file.path(), out.directory().join("no/such/folder.gguf"), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);

    // Cancelled when a part is written.
    let cancel = Cancel::new();
    let stop = cancel.clone();
    let load = LoadOptions::default().threads(1).cancel(cancel);
    let cancelled = options.clone().load(load).on_progress(move |_| stop.cancel());
    assert_eq!(quantize(file.path(), &path, &cancelled).unwrap_err().kind(), ErrorKind::Cancelled);

    // Weights that are no numbers are found when they are read.
    let mut bytes = before.clone();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    out.write("nan.gguf", &bytes);
    let error = quantize(out.directory().join("nan.gguf"), &path, &options).unwrap_err();
    assert!(error.to_string().contains("NaN"), "{error}");
    let left: Vec<_> = fs::read_dir(out.directory()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["nan.gguf"]);
}
