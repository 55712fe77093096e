//! The `puna` command: chat with a Llama 4 file, and look into it.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")
)]

mod args;
mod commands;
mod failure;
mod image;
mod load;
mod npy;
mod output;
mod progress;
mod shipped;

use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use failure::Failure;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(failure) = std::env::args().nth(1).and_then(|word| unknown(&word)) {
        return failure.report();
    }
    // clap answers --help and --version, and ends with status 2 on wrong usage.
    let cli = Cli::parse();
    let quiet = cli.quiet;
    let done = match cli.command.unwrap_or(Command::Chat(cli.chat)) {
        Command::Chat(args) => commands::chat::run(&args, quiet),
        Command::Generate(args) => commands::generate::run(&args, quiet),
        Command::Logits(args) => commands::logits::run(&args, quiet),
        Command::Vision(args) => commands::vision::run(&args, quiet),
        Command::Tokenize(args) => commands::tokenize::run(&args),
        Command::Detokenize(args) => commands::detokenize::run(&args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Dequant(args) => commands::dequant::run(&args),
        Command::Perplexity(args) => commands::perplexity::run(&args, quiet),
        Command::Eval(args) => commands::eval::run(&args, quiet),
        Command::Bench(args) => commands::bench::run(&args, quiet),
        Command::Plan(args) => commands::plan::run(&args),
        Command::Devices(args) => commands::devices::run(&args),
        Command::Quantize(args) => commands::quantize::run(&args, quiet),
        Command::Imatrix(args) => commands::imatrix::run(&args, quiet),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// A first word that looks like a command and is none: clap would take it for a model, and complain about what follows.
fn unknown(word: &str) -> Option<Failure> {
    let like = !word.starts_with('-') && word.chars().all(|c| c.is_ascii_alphabetic() || c == '-');
    if !like
        || word.is_empty()
        || word == "help"
        || Cli::command().find_subcommand(word).is_some()
        || Path::new(word).exists()
    {
        return None;
    }
    Some(Failure::usage(format_args!("{word}: neither a command nor a file or folder of this name")))
}
