//! What the examples share: the model to run, named on the command line or made on the spot.

use puna::{Error, LoadOptions, Model};

/// Opens the model named by the first argument. Without one, a tiny model with random weights stands in, so that every
/// example runs anywhere; what it says makes no sense.
///
/// # Errors
/// Those of [`Model::open`].
pub fn model(options: &LoadOptions) -> Result<Model, Error> {
    match std::env::args_os().nth(1) {
        Some(path) => Model::open(path, options),
        None => Model::from_bytes(puna::tiny::gguf(7)?, options),
    }
}
