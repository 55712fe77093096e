//! Asks about one picture: `cargo run --release -p puna-examples --example describe_image` shows a handwritten digit to
//! the small model of this tree, and
//! `cargo run --release -p puna-examples --example describe_image -- photo.jpg 'What is this?' scout.gguf mmproj.gguf` another
//! picture to another model.
//!
//! The last file is the vision tower of a GGUF model; a multimodal Hugging Face folder has it inside.
#![allow(clippy::print_stdout, reason = "examples print")]

use puna::{Image, LoadOptions, Message, Model, Sampling, SessionOptions};
use std::error::Error;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut args = std::env::args_os().skip(1);
    let picture = args.next().map_or_else(|| tree.join("pictures/digit.png"), PathBuf::from);
    let question = args.next().unwrap_or_else(|| "Which digit is written here?".into());
    let (model, mmproj) = match args.next() {
        Some(model) => (model.into(), args.next().map(PathBuf::from)),
        None => {
            let models = tree.join("../crates/puna-cli/models");
            (models.join("puna-tiny.gguf"), Some(models.join("puna-tiny.mmproj.gguf")))
        }
    };
    let mut options = LoadOptions::default();
    options.mmproj = mmproj;
    let model = Model::open(model, &options)?;
    let image = Image::open(picture)?;
    let layout = model.image_layout(image.width(), image.height())?;
    println!(
        "{} x {} pixels, {} tiles, {} tokens",
        image.width(),
        image.height(),
        layout.tiles(),
        layout.n_tokens()
    );
    let mut chat = model.session(&SessionOptions::default())?;
    chat.push(&[Message::user("").with(image).with(question.to_string_lossy().into_owned())])?;
    for token in chat.generate(&Sampling::default()).max_tokens(300) {
        print!("{}", token?.text());
        stdout().flush()?;
    }
    println!();
    Ok(())
}
