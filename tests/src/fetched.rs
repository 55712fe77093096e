//! Files that `cargo xtask models` fetches.

use std::path::{Path, PathBuf};

/// The path of a file below `target/models`.
///
/// # Panics
/// When it is not there: a test that is skipped proves nothing.
pub fn fetched(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/models").join(name);
    assert!(path.is_file(), "target/models/{name} is missing: run cargo xtask models");
    path
}

/// SmolLM2-135M-Instruct, Q4_1: real weights of the dense Llama family.
pub fn smollm2() -> PathBuf {
    fetched("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
}
