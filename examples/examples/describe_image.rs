//! Asks about one picture: `cargo run --release -p puna-examples --example describe_image -- photo.jpg scout.gguf mmproj.gguf`.
//!
//! The last file is the vision tower of a GGUF model; a multimodal Hugging Face folder has it inside.
#![allow(clippy::print_stdout, reason = "examples print")]

use puna::{Image, LoadOptions, Message, Model, Sampling, SessionOptions};
use std::error::Error;
use std::io::{Write, stdout};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(picture), Some(model)) = (args.next(), args.next()) else {
        return Err("usage: describe_image IMAGE MODEL [MMPROJ]".into());
    };
    let mut options = LoadOptions::default();
    options.mmproj = args.next().map(Into::into);
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
    chat.push(&[Message::user("").with(image).with("Describe this image in one paragraph.")])?;
    for token in chat.generate(&Sampling::default().temperature(0.6).top_p(0.9)).max_tokens(300) {
        print!("{}", token?.text());
        stdout().flush()?;
    }
    println!();
    Ok(())
}
