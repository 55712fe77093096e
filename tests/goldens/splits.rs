//! A prompt gives the same logits however it is cut: in batches of any size, in pushes of any size, one by one.

use super::{assert_same, exact, session, trace};
use puna::{Cancel, DeviceKind, LoadOptions, Model};
use puna_testkit::goldens::{Golden, Rounding};
use puna_testkit::tolerance;

#[test]
fn any_batch_equals_one_by_one() {
    for name in Golden::SHORT {
        let golden = Golden::load(name);
        let file = golden.gguf_file(Rounding::F32);
        for device in [DeviceKind::Reference, DeviceKind::Cpu] {
            let model = Model::open(file.path(), &exact(device)).unwrap();
            let one_by_one = trace(&model, &golden.prompt, 1);
            // Around the chunk of 32, the chunk of 7, and more than all.
            for batch in [2, 7, 13, 31, 32, 33, 64, 1000] {
                let found = trace(&model, &golden.prompt, batch);
                let what = format!("{name} on {device:?} in batches of {batch}");
                assert_same(&what, &found.logits, &one_by_one.logits, tolerance::SPLIT);
            }
        }
    }
}

#[test]
fn any_pushes_equal_one_prompt() {
    let golden = Golden::load("scout");
    let file = golden.gguf_file(Rounding::Q8_0);
    for device in [DeviceKind::Reference, DeviceKind::Cpu] {
        let model = Model::open(file.path(), &exact(device)).unwrap();
        let expected = trace(&model, &golden.prompt, 512).logits;
        for pieces in [[1, 5, 26], [31, 1, 1], [32, 32, 3], [40, 7, 50]] {
            let mut session = session(&model, golden.prompt.len(), 16);
            let mut rest = &golden.prompt[..];
            for n in pieces.into_iter().cycle() {
                let (now, later) = rest.split_at(n.min(rest.len()));
                session.push_tokens(now).unwrap();
                let logits = session.logits(&Cancel::new()).unwrap().to_vec();
                let at = golden.prompt.len() - later.len() - 1;
                assert_same(&format!("{pieces:?} at {at}"), &[logits], &expected[at..=at], tolerance::SPLIT);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
        }
    }
}

/// Rounded to 8 bits, a difference in the last place can become one of a whole step, so less can be promised: cutting
/// costs no more than the rounding itself does.
#[test]
fn batches_stay_near_with_rounded_activations() {
    let golden = Golden::load("scout");
    let file = golden.gguf_file(Rounding::Q8_0);
    let exact =
        trace(&Model::open(file.path(), &exact(DeviceKind::Cpu)).unwrap(), &golden.prompt, 512).logits;
    let model = Model::open(file.path(), &LoadOptions::default().threads(2)).unwrap();
    let one_by_one = trace(&model, &golden.prompt, 1).logits;
    let rounding = median_distance(&one_by_one, &exact);
    assert!(rounding > 1e-3, "activations are rounded");
    for batch in [5, 32, 100] {
        let cutting = median_distance(&trace(&model, &golden.prompt, batch).logits, &one_by_one);
        assert!(
            cutting < 1.5 * rounding,
            "batches of {batch}: off by {cutting}, by rounding alone {rounding}"
        );
    }
}

/// The median over positions of the largest difference.
fn median_distance(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    let largest =
        |(a, b): (&Vec<f32>, &Vec<f32>)| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    let mut all: Vec<f32> = a.iter().zip(b).map(largest).collect();
    all.sort_by(f32::total_cmp);
    all[all.len() / 2]
}
