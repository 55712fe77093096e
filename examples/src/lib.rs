//! What the examples share: the model to run, named on the command line or the small one of this tree.

use puna::{Error, LoadOptions, Model};
use std::path::{Path, PathBuf};

/// The path that is the first argument. Without one, puna-tiny stands in, so that every example runs anywhere; it is a
/// demonstration of 6 million parameters, and what it says is seldom sensible.
pub fn path() -> PathBuf {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/puna-cli/models/puna-tiny.gguf");
    std::env::args_os().nth(1).map_or(tiny, PathBuf::from)
}

/// Opens the model at [`path`].
///
/// # Errors
/// Those of [`Model::open`].
pub fn model(options: &LoadOptions) -> Result<Model, Error> {
    Model::open(path(), options)
}
