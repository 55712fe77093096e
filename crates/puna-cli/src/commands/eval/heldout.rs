//! Held-out items: what is asked, and the answer that is right.

use crate::args::EvalArgs;
use crate::failure::{Context, Failure, Result};
use crate::shipped;
use puna::{Image, Message, Part};
use puna_text::chat::{ImageSource, parse_messages_with};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Display;

/// One item.
pub(super) struct Item {
    pub(super) id: String,
    pub(super) skill: String,
    /// About how many tokens its prompt has, where that is what is tried.
    pub(super) length: Option<usize>,
    pub(super) task: Task,
}

/// What is to be done.
pub(super) enum Task {
    /// A text, whose likelihood is measured.
    Text(String),
    /// A conversation, and the only right answer to it.
    Question { messages: Vec<Message>, answer: String },
}

/// The items that the flags ask for, in the order of the file.
pub(super) fn items(args: &EvalArgs) -> Result<Vec<Item>> {
    let (name, text, images): (Cow<'_, str>, Cow<'_, str>, Cow<'_, [u8]>) = match &args.heldout {
        None => ("held-out items".into(), shipped::HELDOUT.into(), shipped::IMAGES.into()),
        Some(path) => {
            let images = path.with_extension("images");
            let images = match std::fs::read(&images) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
                read => read.at(images.display())?,
            };
            (path.to_string_lossy(), crate::load::text_file(path)?.into(), images.into())
        }
    };
    let mut items = Vec::new();
    let (mut counts, mut skills) = (Vec::new(), Vec::new());
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = || format!("{name}, line {}", i + 1);
        let line: Value = serde_json::from_str(line).at(at())?;
        let skill = string(&line, "skill").at(at())?;
        let length = line.get("length").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        if !skills.iter().any(|known| known == skill) {
            skills.push(skill.to_owned());
        }
        if !args.skill.is_empty() && !args.skill.iter().any(|wanted| wanted == skill) {
            continue;
        }
        let count = match counts.iter().position(|(s, l, _)| s == skill && *l == length) {
            Some(at) => counts.get_mut(at),
            None => {
                counts.push((skill.to_owned(), length, 0));
                counts.last_mut()
            }
        };
        if let Some((.., n)) = count {
            *n += 1;
            if args.items.is_some_and(|most| *n > most) {
                continue;
            }
        }
        let (id, skill) = (string(&line, "id").at(at())?.to_owned(), skill.to_owned());
        items.push(Item { id, skill, length, task: task(&line, &images).at(at())? });
    }
    if let Some(unknown) = args.skill.iter().find(|wanted| !skills.contains(wanted)) {
        let known = skills.join(", ");
        return Err(Failure::usage(format_args!("--skill: expected some of {known}, found {unknown:?}")));
    }
    if items.is_empty() {
        return Err(Failure::new(format_args!("{name}: expected at least one item, found none")));
    }
    Ok(items)
}

fn task(line: &Value, images: &[u8]) -> Result<Task, String> {
    if let Some(text) = line.get("text") {
        let text = text.as_str().filter(|text| !text.is_empty());
        return Ok(Task::Text(text.ok_or("text: expected a string of at least one character")?.into()));
    }
    let messages = line.get("messages").ok_or("expected messages or text, found neither")?.to_string();
    let mut open = |source: ImageSource<'_>| match source {
        ImageSource::Path(path) => picture(path, images).map(Part::from),
        ImageSource::Size(..) => Err("only a size".into()),
    };
    let messages = parse_messages_with(messages.as_bytes(), &mut open).map_err(text_of)?;
    Ok(Task::Question { messages, answer: string(line, "answer")?.into() })
}

/// `NAME@OFFSET+BYTES`: a file inside the file of pictures.
fn picture(path: &str, images: &[u8]) -> Result<Image, String> {
    let place = path.rsplit_once('@').and_then(|(_, place)| place.split_once('+'));
    let place = place.and_then(|(at, n)| Some((at.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
    let (at, n) = place.ok_or_else(|| format!("{path:?} in place of NAME@OFFSET+BYTES"))?;
    let bytes = images.get(at..).and_then(|rest| rest.get(..n));
    let bytes = bytes.ok_or_else(|| format!("{path:?}, past the {} bytes of pictures", images.len()))?;
    Image::decode(bytes).map_err(text_of)
}

fn string<'v>(value: &'v Value, key: &str) -> Result<&'v str, String> {
    value.get(key).and_then(Value::as_str).ok_or_else(|| format!("{key}: expected a string"))
}

fn text_of(e: impl Display) -> String {
    e.to_string()
}
