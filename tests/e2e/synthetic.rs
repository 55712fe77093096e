//! Synthetic files for benchmarks are models like any other.

use puna::{LoadOptions, Model, Sampling, SessionOptions};
use puna_testkit::ModelDir;
use puna_testkit::synth::{Like, Mix, Spec, write};

/// Loaded, its words found again, and a text generated, on any number of threads.
#[test]
fn a_synthetic_file_loads_and_generates() {
    let dir = ModelDir::new("synthetic").pointing_at("tiny.gguf");
    for (mix, moe_step) in [("q4_k_m", None), ("q4_0", Some(1)), ("bf16", Some(4))] {
        let spec = Spec { like: Like::Tiny, layers: 5, moe_step, mix: Mix::parse(mix).unwrap(), seed: 7 };
        write(&spec, dir.path()).unwrap();
        let answer = |threads| {
            let model = Model::open(dir.path(), &LoadOptions::default().threads(threads)).unwrap();
            let text = "a bee said: <|eot|>\n";
            let ids = model.encode(text).unwrap();
            // Words were merged from their letters.
            assert!(ids.len() < text.len() && model.decode(&ids).unwrap() == text, "{mix}: {ids:?}");
            let mut session = model.session(&SessionOptions::default().context(64)).unwrap();
            session.push_tokens(&ids).unwrap();
            session.generate(&Sampling::default()).max_tokens(12).ignore_end().text().unwrap()
        };
        let (one, two) = (answer(1), answer(2));
        assert!(!one.is_empty() && one == two, "{mix}: {one:?} {two:?}");
    }
}
