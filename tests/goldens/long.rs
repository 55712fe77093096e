//! Twenty thousand tokens with the constants of the published models: chunk 8192, floor 8192, scale 0.1.

use super::{exact, session, trace};
use puna::{Cancel, DeviceKind, Model};
use puna_testkit::compare::assert_close;
use puna_testkit::goldens::{Golden, Rounding};
use puna_testkit::tolerance;

#[test]
fn twenty_thousand_tokens() {
    let golden = Golden::load("long");
    assert_eq!(golden.prompt.len(), 20_000);
    let folder = golden.folder(Rounding::F32, 1);
    let model = Model::open(folder.path(), &exact(DeviceKind::Cpu)).unwrap();
    let expected = golden.expected(Rounding::F32);
    let found = trace(&model, &golden.prompt, 512);
    for (layer, rows) in expected.hidden.iter().enumerate() {
        for (row, &position) in rows.iter().zip(&expected.hidden_positions) {
            let what = format!("hidden state after layer {layer} at {position}");
            assert_close(&what, &found.hidden[layer][position], row, tolerance::HIDDEN);
        }
    }
    for (row, &position) in expected.logits.iter().zip(&expected.positions) {
        assert_close(&format!("logits at {position}"), &found.logits[position], row, tolerance::LOGITS);
    }

    // And one by one across the second chunk's boundary.
    let mut session = session(&model, 20_000, 512);
    session.push_tokens(&golden.prompt[..16_380]).unwrap();
    for position in 16_380..16_390 {
        session.push_tokens(&golden.prompt[position..=position]).unwrap();
        let logits = session.logits(&Cancel::new()).unwrap();
        assert_close(&format!("decoded at {position}"), logits, &found.logits[position], tolerance::SPLIT);
    }
}
