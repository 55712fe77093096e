//! `puna chat`: a conversation in the terminal.

use crate::args::ChatArgs;
use crate::failure::{Failure, Result};
use crate::image::{open, question};
use crate::load::{model_or_shipped, prompt_format, sampling, session_options};
use puna::{Cancel, Finish, Image, Message, Sampling, Session};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What Ctrl-C does: it stops the answer that is under way; without one, the second in a row ends the program.
#[derive(Clone, Default)]
struct Interrupt(Arc<Mutex<Answering>>);

#[derive(Default)]
enum Answering {
    /// Waiting for the user.
    #[default]
    No,
    /// Waiting, and Ctrl-C was pressed once.
    Warned,
    Yes(Cancel),
}

impl Interrupt {
    fn install() -> Result<Self> {
        let interrupt = Self::default();
        let handler = interrupt.clone();
        ctrlc::set_handler(move || handler.pressed())
            .map_err(|e| Failure::new(format_args!("Ctrl-C: {e}")))?;
        Ok(interrupt)
    }

    fn pressed(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            Answering::Yes(cancel) => cancel.cancel(),
            Answering::Warned => {
                say("");
                std::process::exit(0);
            }
            Answering::No => {
                say("\n(Ctrl-C again or Ctrl-D to leave)");
                prompt();
                *state = Answering::Warned;
            }
        }
    }

    fn set(&self, answering: Answering) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = answering;
    }
}

pub(crate) fn run(args: &ChatArgs, quiet: bool) -> Result<()> {
    let model = model_or_shipped(args.model.as_deref(), &args.options, quiet)?;
    let options = prompt_format(session_options(&args.options, None, quiet), args.template);
    let mut session = model.session(&options)?;
    begin(&mut session, args)?;
    // What the next message shows.
    let mut images = open(&args.images)?;
    if !images.is_empty() && model.info().vision.is_none() {
        return Err(Failure::new(NO_TOWER));
    }
    let interrupt = Interrupt::install()?;
    let interactive = io::stdin().is_terminal() && !quiet;
    if !quiet {
        let info = model.info();
        say(&format!("{} on {}", info.name.as_deref().unwrap_or("model"), info.device));
    }
    if interactive {
        say("Type a message, or /help. Ctrl-C stops an answer, Ctrl-D leaves.");
    }
    let sampling = defaults(sampling(&args.sampling), args.model.is_none());
    let mut lines = io::stdin().lock();
    loop {
        interrupt.set(Answering::No);
        if interactive {
            prompt();
        }
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line).map_err(|e| Failure::new(format_args!("stdin: {e}")))? == 0 {
            if interactive {
                say("");
            }
            return Ok(());
        }
        let line = String::from_utf8_lossy(&line);
        match line.trim() {
            "" => {}
            "/exit" | "/quit" => return Ok(()),
            "/help" => say(HELP),
            "/reset" => {
                images.clear();
                begin(&mut session, args)?;
            }
            "/tokens" => say(&format!("{} tokens, {} left", session.tokens().len(), session.remaining())),
            command if command == "/image" || command.starts_with("/image ") => {
                show(command, model.info().vision.is_some(), &mut images);
            }
            command if is_command(command) => say(&format!("{command}: unknown; /help lists the commands")),
            message => {
                let message = question(std::mem::take(&mut images), message);
                answer(&mut session, message, &sampling, args, &interrupt, quiet)?;
            }
        }
    }
}

const HELP: &str = "/image FILE  show an image with the next message\n/reset       forget the conversation\n\
    /tokens      how much of the context is used\n/exit        leave";

const NO_TOWER: &str = "the model takes no images: it has no vision tower (a GGUF model keeps it in a file of its own: --mmproj FILE)";

/// `/image FILE`: keeps it for the next message. A file that cannot be shown ends nothing.
fn show(command: &str, sees: bool, images: &mut Vec<Image>) {
    let path = command.trim_start_matches("/image").trim();
    if !sees {
        return say(NO_TOWER);
    }
    if path.is_empty() {
        return say("expected /image FILE");
    }
    match open(&[PathBuf::from(path)]) {
        Ok(opened) => images.extend(opened),
        Err(e) => say(&e.to_string()),
    }
}

/// A slash and one word. Longer lines that begin with a slash are messages.
fn is_command(line: &str) -> bool {
    line.strip_prefix('/').is_some_and(|rest| !rest.is_empty() && rest.chars().all(char::is_alphabetic))
}

/// Empties the session but for the system's message.
fn begin(session: &mut Session, args: &ChatArgs) -> Result<()> {
    session.truncate(0);
    match &args.system {
        Some(system) => Ok(session.push(&[Message::system(system)])?),
        None => Ok(()),
    }
}

/// Meta's own choice for chats, where the command line makes none. The shipped model knows one answer to a question.
fn defaults(mut sampling: Sampling, shipped: bool) -> Sampling {
    if sampling.temperature.is_none() && !shipped {
        sampling.temperature = Some(0.6);
        sampling.top_p = sampling.top_p.or(Some(0.9));
    }
    sampling
}

fn answer(
    session: &mut Session,
    message: Message,
    sampling: &Sampling,
    args: &ChatArgs,
    interrupt: &Interrupt,
    quiet: bool,
) -> Result<()> {
    if let Err(e) = session.push(&[message]) {
        match e.kind() {
            puna::ErrorKind::ContextFull => say(&format!("{e}; /reset begins anew")),
            _ => return Err(e.into()),
        }
        return Ok(());
    }
    let mut answer = session.generate(sampling);
    if let Some(n) = args.max_tokens {
        answer = answer.max_tokens(n);
    }
    interrupt.set(Answering::Yes(answer.cancel_handle()));
    let mut out = io::stdout().lock();
    for token in answer.by_ref() {
        match token {
            Ok(token) => out.write_all(token.text().as_bytes())?,
            Err(e) => {
                writeln!(out)?;
                return Err(e.into());
            }
        }
        out.flush()?;
    }
    writeln!(out)?;
    let stats = answer.stats();
    let note = match answer.finish() {
        Some(Finish::Cancelled) => "stopped",
        Some(Finish::ContextFull) => "the context is full; /reset begins anew",
        Some(Finish::MaxTokens) => "--max-tokens reached",
        _ => "",
    };
    if !quiet {
        let speed = |n: usize, seconds: f64| if seconds > 0.0 { n as f64 / seconds } else { 0.0 };
        let prefill = speed(stats.prompt_tokens, stats.prefill.as_secs_f64());
        let decode = speed(stats.generated_tokens.saturating_sub(1), stats.decode.as_secs_f64());
        let note = if note.is_empty() { String::new() } else { format!(" — {note}") };
        say(&format!(
            "[{} + {} tokens, {prefill:.0} and {decode:.1} a second{note}]",
            stats.prompt_tokens, stats.generated_tokens
        ));
    }
    Ok(())
}

/// Says something beside the conversation. That nobody listens to stderr is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn prompt() {
    let mut stderr = io::stderr();
    let _ = write!(stderr, "> ").and_then(|()| stderr.flush());
}

#[cfg(test)]
mod tests {
    use super::is_command;

    #[test]
    fn only_a_slash_and_a_word_is_a_command() {
        assert!(is_command("/reset") && is_command("/foo"));
        assert!(!is_command("/usr/bin is a folder") && !is_command("/") && !is_command("hello"));
    }
}
