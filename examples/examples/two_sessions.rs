//! Two sessions on one model, each in its own thread: the weights are in memory once. A third one is forked from the
//! first and continues from what it has read, without reading it again.
#![allow(clippy::print_stdout, reason = "examples print")]

use puna::{LoadOptions, Message, Model, Sampling, SessionOptions};
use std::thread;

fn ask(model: Model, question: &str) -> Result<String, puna::Error> {
    let mut chat = model.session(&SessionOptions::default())?;
    chat.push(&[Message::user(question)])?;
    chat.generate(&Sampling::default()).max_tokens(40).text()
}

fn main() -> Result<(), puna::Error> {
    let model = puna_examples::model(&LoadOptions::default().threads(1))?;
    let questions = ["What is the capital of France?", "Name a colour."];
    let answers = thread::scope(|scope| {
        let start = |question| {
            let model = model.clone();
            (question, scope.spawn(move || ask(model, question)))
        };
        questions.map(start).map(|(question, thread)| (question, thread.join()))
    });
    for (question, answer) in answers {
        match answer {
            Ok(answer) => println!("{question}\n  {}", answer?),
            Err(_) => println!("{question}\n  (the thread failed)"),
        }
    }

    let mut first = model.session(&SessionOptions::default())?;
    first.push(&[Message::user("Tell me about whales.")])?;
    first.prefill(&puna::Cancel::new())?;
    for seed in 0..2 {
        let mut fork = first.fork()?;
        let sampling = Sampling::default().temperature(0.9).seed(seed);
        println!("seed {seed}: {}", fork.generate(&sampling).max_tokens(30).text()?);
    }
    Ok(())
}
