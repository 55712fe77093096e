//! The vision tower on the CPU device: features, logits and greedy tokens of transformers, and the façade's way there.

use super::{exact, session};
use puna::{Cancel, DeviceKind, Model};
use puna_cpu::device::Threads;
use puna_cpu::isa::Isa;
use puna_cpu::matmul::Activations;
use puna_cpu::{CpuDevice, CpuOptions};
use puna_testkit::ModelDir;
use puna_testkit::goldens::VisionGolden;
use std::ops::ControlFlow;

#[test]
fn every_instruction_set_sees_alike() {
    let golden = VisionGolden::load();
    for isa in Isa::available() {
        for (threads, tiles, batch) in [(1, 4, 512), (2, 3, 11)] {
            let threads = Threads::Count(threads);
            let options = CpuOptions { threads, isa: Some(isa), activations: Activations::F32 };
            let off = golden.check(Box::new(CpuDevice::new(options).unwrap()), tiles, batch);
            assert!(off.logits > 0.0, "nothing is exactly transformers");
        }
    }
}

/// A multimodal folder, opened as an application opens it; pixels as they are, in batches that cut images apart.
#[test]
fn a_folder_that_can_see() {
    let golden = VisionGolden::load();
    let folder = ModelDir::new("vision");
    folder.write("config.json", golden.config.to_string().as_bytes());
    folder.write("model.safetensors", &golden.safetensors());
    let model = Model::open(folder.path(), &exact(DeviceKind::Cpu)).unwrap();
    let tower = model.info().vision.unwrap();
    assert_eq!((tower.layers, tower.tile, tower.tile_tokens), (3, 56, 4));
    for case in golden.cases() {
        let (ids, pixels) = golden.prompt(case);
        for batch in [512, 9] {
            let mut session = session(&model, 512, batch);
            session.place_pixels(&ids, &pixels, &Cancel::new()).unwrap();
            let mut logits = Vec::new();
            let keep = |_, row: &[f32]| {
                logits.push(row.to_vec());
                ControlFlow::Continue(())
            };
            session.score(&ids, &Cancel::new(), keep).unwrap();
            golden.check_logits(case, &logits);
        }
        // Too few patches for the rows, or pixels that are no tiles.
        let mut session = session(&model, 512, 512);
        session.place_pixels(&ids[..3], &pixels, &Cancel::new()).unwrap_err();
        session.place_pixels(&ids, &pixels[1..], &Cancel::new()).unwrap_err();
        assert!(session.tokens().is_empty());
    }
}

#[test]
fn what_cannot_see_says_so() {
    let golden = VisionGolden::load();
    let folder = ModelDir::new("blind");
    folder.write("config.json", golden.config["text_config"].to_string().as_bytes());
    folder.write("model.safetensors", &golden.safetensors());
    let mut text = golden.clone();
    for name in
        golden.tensors.iter().map(|(name, _)| name.to_string()).filter(|n| !n.contains("language_model"))
    {
        text.tensors.remove(&name);
    }
    folder.write("model.safetensors", &text.safetensors());
    let model = Model::open(folder.path(), &exact(DeviceKind::Cpu)).unwrap();
    assert_eq!(model.info().vision, None);
    let error = session(&model, 64, 64).place_pixels(&[1], &[0.0; 3 * 56 * 56], &Cancel::new()).unwrap_err();
    assert!(error.to_string().contains("no vision tower"), "{error}");
}
