//! Importance matrices through the public interface: made, kept, and spent, on the tiny model.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed assumption in a test should stop it"
)]

use puna::{Cancel, ErrorKind, Imatrix, ImatrixOptions, LoadOptions, Model, QuantizeOptions, quantize};
use puna_core::Region;
use puna_format::Limits;
use puna_format::gguf::{Gguf, GgufSet};
use puna_llama::TensorSource;
use puna_llama::weights::GgufTensors;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A folder of its own for each test.
fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("puna-imatrix-{name}-{}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}

fn text() -> String {
    (0..40u32).map(|i| format!("{} is not {}. ", i * i, i + 7)).collect()
}

fn tiny() -> Model {
    Model::from_bytes(puna::tiny::gguf(3).unwrap(), &LoadOptions::default().threads(1)).unwrap()
}

/// Every matrix of a file as floats, by name.
fn matrices(path: &Path) -> Vec<(String, usize, Vec<f32>)> {
    let region = Region::from_vec(fs::read(path).unwrap());
    let limits = Limits::default();
    let set = GgufSet::join(vec![Gguf::read(region.bytes(), &limits).unwrap()], &limits).unwrap();
    let files = [region];
    let tensors = GgufTensors::new(&set, &files);
    let matrices = set.tensors.iter().filter(|info| info.shape.len() > 1);
    let values = |name: &str| {
        let tensor = tensors.find(name).unwrap().unwrap();
        let mut values = vec![0.0; tensor.shape.iter().product()];
        puna_core::quant::dequantize_row(tensor.dtype, tensor.region.bytes(), &mut values).unwrap();
        (name.to_string(), *tensor.shape.last().unwrap(), values)
    };
    matrices.map(|info| values(&info.name)).collect()
}

/// What is lost of what the layers compute, as the importance matrix has it: the errors of weights, squared, times what
/// their columns meet.
fn loss(imatrix: &puna_llama::Imatrix, original: &Path, quantized: &Path) -> f64 {
    let mut loss = 0.0;
    for ((name, n_in, a), (_, _, b)) in matrices(original).iter().zip(&matrices(quantized)) {
        let n_mats = imatrix.iter().find(|entry| entry.0 == name).map_or(1, |entry| entry.3.len());
        let Some(weights) = imatrix.weights(name, n_mats, *n_in).unwrap() else { continue };
        let of_mat = a.len() / n_mats;
        let errors = a.iter().zip(b).enumerate();
        loss += errors
            .map(|(i, (a, b))| f64::from((a - b) * (a - b) * weights[i / of_mat * n_in + i % n_in]))
            .sum::<f64>();
    }
    loss
}

#[test]
fn it_is_kept_in_a_file_and_lowers_the_loss_that_it_measures() {
    let folder = folder("loss");
    let (model, text) = (tiny(), text());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let options = ImatrixOptions::default().chunk_size(64).chunks(6).dataset("numbers.txt");
    let options = options.on_progress(move |p| log.lock().unwrap().push((p.done, p.total)));
    let made = model.imatrix(&text, &options).unwrap();
    assert_eq!(seen.lock().unwrap()[..], [64, 128, 192, 256, 320, 384].map(|done| (done, 384)));
    assert_eq!((made.chunks(), made.datasets().collect::<Vec<_>>()), ((6, 64), vec!["numbers.txt"]));

    let file = folder.join("imatrix.gguf");
    made.save(&file).unwrap();
    let imatrix = Imatrix::open(&file).unwrap();
    assert_eq!(imatrix, made);
    let region = Region::from_vec(fs::read(&file).unwrap());
    let measured = puna_llama::Imatrix::read(&region, &Limits::default()).unwrap();

    let original = folder.join("tiny.gguf");
    fs::write(&original, puna::tiny::gguf(3).unwrap()).unwrap();
    for mix in ["q4_0", "q5_1", "iq4_nl"] {
        let (plain, weighted) = (folder.join("plain.gguf"), folder.join("weighted.gguf"));
        let options = QuantizeOptions::new(mix).unwrap();
        quantize(&original, &plain, &options).unwrap();
        quantize(&original, &weighted, &options.imatrix(imatrix.clone())).unwrap();
        let (before, after) = (loss(&measured, &original, &plain), loss(&measured, &original, &weighted));
        assert!(0.0 < after && after < 0.95 * before, "{mix}: {before} without, {after} with");
        let metadata = Gguf::read(&fs::read(&weighted).unwrap(), &Limits::default()).unwrap().metadata;
        assert_eq!(metadata.need::<u32>("quantize.imatrix.entries_count").unwrap(), imatrix.tensors() as u32);
        Model::open(&weighted, &LoadOptions::default().threads(1)).unwrap();
    }
    // What is not quantised does not care.
    let options = QuantizeOptions::new("f32").unwrap().imatrix(imatrix);
    quantize(&original, folder.join("f32.gguf"), &options).unwrap();
    assert_eq!(loss(&measured, &original, &folder.join("f32.gguf")), 0.0);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_goes_wrong_is_said() {
    let folder = folder("wrong");
    let model = tiny();
    let error = model.imatrix("short", &ImatrixOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadInput, "{error}");
    let cancel = Cancel::new();
    cancel.cancel();
    let options = ImatrixOptions::default().chunk_size(16).cancel(cancel);
    assert_eq!(model.imatrix(&text(), &options).unwrap_err().kind(), ErrorKind::Cancelled);

    let model_file = folder.join("tiny.gguf");
    fs::write(&model_file, puna::tiny::gguf(3).unwrap()).unwrap();
    assert_eq!(Imatrix::open(&model_file).unwrap_err().kind(), ErrorKind::BadFile);
    assert_eq!(Imatrix::open(folder.join("none.gguf")).unwrap_err().kind(), ErrorKind::Io);

    // Made of another model: nothing is written.
    let mut file = puna_format::gguf::GgufWriter::new();
    file.set("general.type", "imatrix").unwrap();
    let tensors = [("blk.0.attn_q.weight.in_sum2", 2u64), ("blk.0.attn_q.weight.counts", 1)];
    for (name, n) in tensors {
        file.tensor(name, &[n], puna_core::DType::F32).unwrap();
    }
    let mut out = file.start(Vec::new()).unwrap();
    for (name, n) in tensors {
        out.write(name, &vec![0; 4 * n as usize]).unwrap();
    }
    let other = folder.join("other.gguf");
    fs::write(&other, out.finish().unwrap()).unwrap();
    let options = QuantizeOptions::new("q4_0").unwrap().imatrix(Imatrix::open(&other).unwrap());
    let error = quantize(&model_file, folder.join("out.gguf"), &options).unwrap_err();
    assert!(error.to_string().contains("attn_q"), "{error}");
    assert!(!folder.join("out.gguf").exists() && !folder.join("out.gguf.partial").exists());
    let error = Imatrix::open(&other).unwrap().save(folder.join("no/such.gguf")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    fs::remove_dir_all(folder).unwrap();
}
