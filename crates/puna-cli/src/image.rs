//! Images named on the command line.

use crate::failure::Result;
use puna::{Image, Message, Role};
use std::path::PathBuf;

/// Opens them in order.
pub(crate) fn open(paths: &[PathBuf]) -> Result<Vec<Image>> {
    Ok(paths.iter().map(Image::open).collect::<std::result::Result<_, _>>()?)
}

/// A user's message: its images, then its text.
pub(crate) fn question(images: Vec<Image>, text: &str) -> Message {
    images.into_iter().fold(Message::from_parts(Role::User, Vec::new()), Message::with).with(text)
}
