//! Every fuzz target of puna, as a plain function over bytes.
//!
//! The same functions are driven three ways: by libFuzzer with coverage guidance (`fuzz/libfuzzer`, through
//! `cargo xtask fuzz`), by the stable mutating [`driver`], and, over the stored corpus and regressions, by the test run.

pub mod config;
pub mod driver;
pub mod format;
pub mod image;
pub mod text;

/// A function that must return, whatever the bytes.
pub type Target = fn(&[u8]);

/// All targets by name. The name is also the folder of the target's inputs in `corpus/` and `regressions/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("gguf", format::gguf),
    ("safetensors", format::safetensors),
    ("index", format::index),
    ("config_json", format::config),
    ("config_gguf", config::config_gguf),
    ("config_hf", config::config_hf),
    ("tokenizer_json", text::tokenizer_json),
    ("rank_file", text::rank_file),
    ("decode_stream", text::decode_stream),
    ("messages", text::messages),
    ("template", text::template),
    ("image", image::image),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(n, _)| *n == name).map(|(_, target)| *target)
}
