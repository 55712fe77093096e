//! Asks a question about the pages of a PDF:
//! `cargo run --release -p puna-examples --example pdf_pages -- report.pdf 'What was the total?' scout.gguf mmproj.gguf`.
//!
//! `pdftoppm` (package poppler-utils) turns the pages into images; it has to be installed. As many pages are shown as fit
//! into the context.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "examples print")]

use puna::{ErrorKind, Image, LoadOptions, Message, Model, Sampling, SessionOptions};
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Dots per inch: a page of A4 or Letter then has about 830 x 1170 pixels, 13 tiles.
const RESOLUTION: &str = "100";
const CONTEXT: usize = 65_536;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(pdf), Some(question), Some(model)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: pdf_pages PDF QUESTION MODEL [MMPROJ]".into());
    };
    let folder = std::env::temp_dir().join(format!("puna-pages-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let pages = pages(&pdf, &folder);
    // Whatever became of them, the images are in memory now.
    fs::remove_dir_all(&folder)?;
    let pages = pages?;

    let mut options = LoadOptions::default();
    options.mmproj = args.next().map(Into::into);
    let model = Model::open(model, &options)?;
    let mut chat = model.session(&SessionOptions::default().context(CONTEXT))?;
    for (i, page) in pages.iter().enumerate() {
        let message = Message::user(format!("Page {} of {}: ", i + 1, pages.len())).with(page.clone());
        match chat.push(&[message]) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::ContextFull => {
                eprintln!("{i} of {} pages fit into {CONTEXT} tokens", pages.len());
                break;
            }
            Err(e) => return Err(e.into()),
        }
    }
    chat.push(&[Message::user(question.to_string_lossy())])?;
    for token in chat.generate(&Sampling::default()).max_tokens(500) {
        print!("{}", token?.text());
        stdout().flush()?;
    }
    println!();
    Ok(())
}

/// All pages as images, in order.
fn pages(pdf: &OsStr, folder: &Path) -> Result<Vec<Image>, Box<dyn Error>> {
    let mut tool = Command::new("pdftoppm");
    let done = tool.args(["-png", "-r", RESOLUTION]).arg(pdf).arg(folder.join("page")).output();
    let done = done.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => "pdftoppm was not found: install poppler-utils".into(),
        _ => format!("pdftoppm: {e}"),
    })?;
    if !done.status.success() {
        return Err(format!("pdftoppm: {}", String::from_utf8_lossy(&done.stderr).trim()).into());
    }
    // The names count with leading zeros, so their order is that of the pages.
    let list = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut files: Vec<PathBuf> = list.collect::<io::Result<_>>()?;
    files.sort();
    Ok(files.iter().map(Image::open).collect::<Result<_, _>>()?)
}
