//! Seeded models against Hugging Face transformers, from every kind of file and on every device.

use super::{exact, greedy, trace};
use puna::{DeviceKind, Model};
use puna_cpu::matmul::Activations;
use puna_testkit::compare::assert_close;
use puna_testkit::goldens::{Expected, Golden, Rounding};
use puna_testkit::{Loaded, ModelDir, tolerance};
use puna_tests::devices::devices;

/// Logits, hidden states and greedy tokens of a model opened by its path.
pub(super) fn check(what: &str, model: &Model, golden: &Golden, expected: &Expected) {
    let found = trace(model, &golden.prompt, 512);
    for (layer, rows) in expected.hidden.iter().enumerate() {
        for (row, &position) in rows.iter().zip(&expected.hidden_positions) {
            let what = format!("{what}: hidden state after layer {layer} at {position}");
            assert_close(&what, &found.hidden[layer][position], row, tolerance::HIDDEN);
        }
    }
    for (row, &position) in expected.logits.iter().zip(&expected.positions) {
        assert_close(
            &format!("{what}: logits at {position}"),
            &found.logits[position],
            row,
            tolerance::LOGITS,
        );
    }
    assert!(expected.greedy.len() >= 40);
    assert_eq!(
        greedy(model, &golden.prompt, expected.greedy.len()),
        expected.greedy,
        "{what}: greedy tokens"
    );
}

/// Every file that a golden model can be written as, with the rounding its expectations were made with.
fn files(golden: &Golden) -> Vec<(String, Rounding, ModelDir)> {
    let mut files: Vec<_> = golden
        .roundings()
        .map(|rounding| (format!("{} GGUF {rounding:?}", golden.name), rounding, golden.gguf_file(rounding)))
        .collect();
    for rounding in [Rounding::F32, Rounding::BF16] {
        for shards in [1, 3] {
            let what = format!("{} folder {rounding:?} in {shards}", golden.name);
            files.push((what, rounding, golden.folder(rounding, shards)));
        }
    }
    files
}

#[test]
fn every_model_from_every_kind_of_file() {
    for name in Golden::SHORT {
        let golden = Golden::load(name);
        for (what, rounding, file) in files(&golden) {
            for device in [DeviceKind::Reference, DeviceKind::Cpu] {
                // The reference has seen the same weights in the folder of one shard.
                if device == DeviceKind::Reference && what.ends_with("in 3") {
                    continue;
                }
                let model = Model::open(file.path(), &exact(device)).unwrap();
                check(&format!("{what} on {device:?}"), &model, &golden, golden.expected(rounding));
            }
        }
    }
}

/// All instruction sets and thread counts; the façade's own choice is among them.
#[test]
fn every_device() {
    for name in Golden::SHORT {
        let golden = Golden::load(name);
        for rounding in golden.roundings() {
            let file = golden.gguf(rounding);
            for candidate in devices().into_iter().skip(1).filter(|c| c.activations == Activations::F32) {
                Loaded::gguf(&file, candidate.device).check(&golden, rounding);
            }
        }
    }
}

/// Rounded activations are another computation, but the same model.
#[test]
fn rounded_activations_stay_near() {
    for name in Golden::SHORT {
        let golden = Golden::load(name);
        for rounding in golden.roundings() {
            let file = golden.gguf_file(rounding);
            let model = Model::open(file.path(), &puna::LoadOptions::default().threads(2)).unwrap();
            let (found, expected) = (trace(&model, &golden.prompt, 512), golden.expected(rounding));
            // A rounded activation can turn a router's choice, so single positions may be far off; most are near.
            let off = |(row, &position): (&Vec<f32>, &usize)| {
                let far = row.iter().zip(&found.logits[position]).map(|(a, b)| (a - b).abs());
                far.fold(0.0f32, f32::max)
            };
            let mut all: Vec<f32> = expected.logits.iter().zip(&expected.positions).map(off).collect();
            all.sort_by(f32::total_cmp);
            let median = all[all.len() / 2];
            assert!(median < 0.2, "{name} {rounding:?}: half of the positions are off by more than {median}");
        }
    }
}
