//! Models in two places: the goldens hold wherever the weights are, and budgets are kept.

use super::{exact, transformers};
use puna::{DeviceKind, MemoryPlan, Model, ModelInfo, Placement, SessionOptions};
use puna_testkit::ModelDir;
use puna_testkit::goldens::{Golden, Rounding};

fn check(golden: &Golden, file: &ModelDir, device: DeviceKind, placement: Placement) -> ModelInfo {
    let model = Model::open(file.path(), &exact(device).placement(placement)).unwrap();
    let what = format!("{} on {device} with {placement}", golden.name);
    transformers::check(&what, &model, golden, golden.expected(Rounding::F32));
    model.info().clone()
}

/// The reference stands for the device, so every way to split a model costs little to see.
#[test]
fn every_split_of_every_model() {
    for name in Golden::SHORT {
        let golden = Golden::load(name);
        let file = golden.gguf_file(Rounding::F32);
        let layers = Model::open(file.path(), &exact(DeviceKind::Cpu)).unwrap().info().layers;
        for text in ["experts=cpu", "layers=1", "layers=2,experts=cpu"] {
            check(&golden, &file, DeviceKind::Reference, text.parse().unwrap());
        }
        // The head goes with the first layer that does not exist.
        let all = check(&golden, &file, DeviceKind::Reference, Placement::first_layers(layers + 1));
        assert_eq!((all.placement, all.device.as_str()), (None, "reference"));
        let most = check(&golden, &file, DeviceKind::Reference, Placement::first_layers(layers));
        assert!(most.placement.unwrap().ends_with("head on the processor"));
    }
}

#[test]
fn splits_between_gpu_and_processor() {
    for (name, text) in
        [("scout", "experts=cpu"), ("maverick", "layers=2"), ("maverick", "layers=3,experts=cpu")]
    {
        let golden = Golden::load(name);
        let file = golden.gguf_file(Rounding::F32);
        let info = check(&golden, &file, DeviceKind::Gpu(None), text.parse().unwrap());
        assert!(info.device.starts_with("gpu ") && info.device.contains(" and cpu "), "{}", info.device);
    }
}

/// Less memory, less on the device; never more than the budget, and the same answers.
#[test]
fn budgets_are_kept() {
    for name in ["scout", "tied"] {
        let golden = Golden::load(name);
        let file = golden.gguf_file(Rounding::F32);
        let options = |placement| exact(DeviceKind::Reference).placement(placement);
        let plan = |placement| -> MemoryPlan {
            Model::plan(file.path(), &options(placement), &SessionOptions::default()).unwrap()
        };
        let whole = plan(Placement::device());
        let all = whole.device.total();
        assert_eq!((whole.cpu.total(), all), (0, whole.total()));
        let mut before = 0;
        for tenths in [0, 3, 5, 7, 8, 9, 10] {
            let budget = all * tenths / 10;
            let placement = Placement::auto(budget);
            let split = plan(placement);
            let held = split.device.total();
            assert!(held <= budget && held >= before, "{name}: {held} of {budget}");
            assert!(split.device.weights + split.cpu.weights >= whole.weights, "{name}: {split:?}");
            before = held;
            if [3, 8].contains(&tenths) {
                check(&golden, &file, DeviceKind::Reference, placement);
            }
        }
        assert_eq!(before, all, "{name}: everything fits into what everything takes");
    }
}
