//! A model from bytes in memory: from a network, an archive, or a program that carries it inside itself.
#![allow(clippy::print_stdout, reason = "examples print")]

use puna::{LoadOptions, Model, Sampling, SessionOptions};
use std::error::Error;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    let bytes = std::fs::read(puna_examples::path())?;
    // An `Arc` is shared and not copied; a `&'static [u8]`, as of `include_bytes!`, or a `Vec<u8>` would do as well.
    let bytes: Arc<[u8]> = bytes.into();
    let model = Model::from_bytes(bytes.clone(), &LoadOptions::default())?;
    let info = model.info();
    println!("{} layers of {} on {}", info.layers, info.architecture, info.device);
    let mut session = model.session(&SessionOptions::default())?;
    session.push_text("Once upon a time")?;
    println!("{}", session.generate(&Sampling::default()).max_tokens(30).text()?);
    Ok(())
}
