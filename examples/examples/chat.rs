//! A chat loop: `cargo run --release -p puna-examples --example chat -- model.gguf`.
#![allow(clippy::print_stdout, reason = "examples print")]

use puna::{LoadOptions, Message, Sampling, SessionOptions};
use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};

fn main() -> Result<(), Box<dyn Error>> {
    let model = puna_examples::model(&LoadOptions::default())?;
    let mut chat = model.session(&SessionOptions::default())?;
    chat.push(&[Message::system("You answer in one or two sentences.")])?;
    let sampling = Sampling::default().temperature(0.6).top_p(0.9).seed(1);
    print!("> ");
    stdout().flush()?;
    for line in stdin().lock().lines() {
        chat.push(&[Message::user(line?)])?;
        let mut answer = chat.generate(&sampling).max_tokens(300);
        while let Some(token) = answer.next() {
            print!("{}", token?.text());
            stdout().flush()?;
        }
        print!("\n> ");
        stdout().flush()?;
    }
    Ok(())
}
