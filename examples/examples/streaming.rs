//! Streaming with progress, stopped from another thread: first the load is watched, then the prompt, then the answer is
//! cut off after two seconds. The session goes on afterwards.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "examples print")]

use puna::{Finish, LoadOptions, Progress, Sampling, SessionOptions};
use std::error::Error;
use std::io::{Write, stdout};
use std::thread;
use std::time::Duration;

fn watch(p: Progress) {
    eprintln!("{:?}: {} of {}", p.phase, p.done, p.total);
}

fn main() -> Result<(), Box<dyn Error>> {
    let model = puna_examples::model(&LoadOptions::default().on_progress(watch))?;
    let options = SessionOptions::default().batch(32).on_progress(watch);
    let mut session = model.session(&options)?;
    session.push_text(&"The ship sailed on, and the sea was calm. ".repeat(8))?;

    let mut answer = session.generate(&Sampling::default().temperature(0.8).seed(3)).ignore_end();
    let stop = answer.cancel_handle();
    let timer = thread::spawn(move || {
        thread::sleep(Duration::from_secs(2));
        stop.cancel(); // works during the prompt as well
    });
    while let Some(token) = answer.next() {
        print!("{}", token?.text());
        stdout().flush()?;
    }
    let (finish, stats) = (answer.finish(), answer.stats());
    println!("\n[{finish:?} after {} tokens in {:.1?}]", stats.generated_tokens, stats.decode);
    if timer.join().is_err() {
        return Err("the timer failed".into());
    }

    if finish == Some(Finish::Cancelled) {
        let more = session.generate(&Sampling::default()).max_tokens(10).text()?;
        println!("[and it goes on]{more}");
    }
    Ok(())
}
