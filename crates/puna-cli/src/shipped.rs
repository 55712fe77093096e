//! The model inside the command: puna-tiny and its held-out sets, so that a fresh installation has something to talk with
//! and something to measure.
//!
//! They are part of the executable, 9 MB of it: `cargo install` brings an executable and nothing else, so that no path
//! would lead to them. Its pages are read when they are touched, like those of a mapped file.

use crate::failure::{Failure, Result};
use puna::{LoadOptions, Model};

/// The text model.
pub(crate) const TEXT: &[u8] = include_bytes!("../models/puna-tiny.gguf");
/// Its vision tower.
pub(crate) const TOWER: &[u8] = include_bytes!("../models/puna-tiny.mmproj.gguf");
/// Held-out items, a line of JSON each: `models/train/heldout.py` describes them.
pub(crate) const HELDOUT: &str = include_str!("../models/heldout.jsonl");
/// The pictures of those items: PNG files, one behind another.
pub(crate) const IMAGES: &[u8] = include_bytes!("../models/heldout.images");

/// What it is, for people who talk with it.
pub(crate) const WHAT: &str = "This is puna-tiny, a demonstration of 6 million parameters and not an assistant; for a real \
                               model, give the path of a GGUF file or of a Hugging Face folder.";

/// Opens it.
pub(crate) fn open(options: LoadOptions) -> Result<Model> {
    if options.mmproj.is_some() {
        return Err(Failure::usage("--mmproj: expected a MODEL that it belongs to, found none"));
    }
    Ok(Model::from_bytes(TEXT, &options.mmproj_bytes(TOWER))?)
}
