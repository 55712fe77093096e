//! Files that the golden tests read.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file that `cargo xtask models` puts below `target/models`; the test fails without it.
pub fn model(name: &str) -> Vec<u8> {
    let path = root().join("target/models").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask models`", path.display()))
}

/// A file that `tests/goldens/text.py` made.
pub fn golden_file(name: &str) -> Vec<u8> {
    let path = root().join("tests/goldens/text").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The same, parsed.
pub fn golden(name: &str) -> serde_json::Value {
    serde_json::from_slice(&golden_file(name)).unwrap()
}

/// The ids of a JSON array.
pub fn ids(value: &serde_json::Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}
