//! `puna eval`: how well a model does what puna-tiny was made to do, and what number formats and devices cost it.

mod copies;
mod formed;
mod heldout;
mod score;

use crate::args::{EvalArgs, STORED};
use crate::failure::{Context, Failure, Result};
use crate::load::session_options;
use crate::output;
use crate::progress::watched;
use copies::Source;
use heldout::{Item, Task};
use indicatif::{ProgressBar, ProgressStyle};
use puna::{Cancel, ErrorKind, Finish, Message, Model, Sampling, Session};
use score::{Column, Likelihood, Score};
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;

/// The longest answer, in tokens; no right answer is as long.
const LONGEST: usize = 80;
/// Tokens a session holds at most, where the model could hold more.
const CONTEXT: usize = 32_768;

pub(crate) fn run(args: &EvalArgs, quiet: bool) -> Result<()> {
    let cancel = Cancel::new();
    let stop = cancel.clone();
    ctrlc::set_handler(move || stop.cancel()).map_err(|e| Failure::new(format_args!("Ctrl-C: {e}")))?;
    let items = heldout::items(args)?;
    let create = |path| File::create(path).map(BufWriter::new);
    let mut answers = args.answers.as_ref().map(|path| create(path).at(path.display())).transpose()?;
    let source = Source::new(args, &cancel)?;
    let mut types: Vec<String> = args.quant.iter().map(|name| name.to_ascii_lowercase()).collect();
    if types.is_empty() {
        types.push(STORED.to_owned());
    }
    let (mut columns, mut device) = (Vec::new(), String::new());
    for name in &types {
        let model = source.open(name)?;
        let bar = bar(items.len(), name, quiet);
        let mut tried = Tried {
            name,
            named: !args.skill.is_empty(),
            cancel: &cancel,
            answers: answers.as_mut(),
            scores: Vec::new(),
        };
        let mut session = session(&model, args)?;
        for item in &items {
            bar.set_message(item.skill.clone());
            tried.item(&mut session, item)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        device.clone_from(&model.info().device);
        let column = Column { name: name.clone(), bytes: model.info().weight_bytes, scores: tried.scores };
        check(&column, args)?;
        columns.push(column);
    }
    if let (Some(mut file), Some(path)) = (answers, &args.answers) {
        file.flush().at(path.display())?;
    }
    let model = source.name();
    if args.json {
        let columns = columns.iter().map(Column::json).collect::<Vec<_>>();
        return output::json(&json!({ "model": model, "device": device, "columns": columns }));
    }
    output::text(&format!("{model} on {device}\n\n{}", score::table(&columns)))
}

fn session(model: &Model, args: &EvalArgs) -> Result<Session> {
    // The items have a bar of their own; prompts need none.
    let options = session_options(&args.options, Some(model.info().context.min(CONTEXT)), true);
    Ok(model.session(&options)?)
}

fn bar(items: usize, name: &str, quiet: bool) -> ProgressBar {
    let bar = if watched(quiet) { ProgressBar::new(items as u64) } else { ProgressBar::hidden() };
    if let Ok(style) =
        ProgressStyle::with_template(&format!("{name:>8} [{{bar:40}}] {{pos}}/{{len}} {{msg}} {{eta}}"))
    {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// A skill that was asked for by name and cannot be tried is an error, and so is a model that can try nothing.
fn check(column: &Column, args: &EvalArgs) -> Result<()> {
    let tried = |name: &str| column.scores.iter().any(|score| score.skill == name && score.items > 0);
    let any = column.scores.iter().any(|score| score.items > 0);
    let named = |score: &&Score| !any || args.skill.contains(&score.skill);
    match column.scores.iter().filter(named).find(|score| !tried(&score.skill)) {
        Some(score) => {
            let why = score.why.as_deref().unwrap_or("nothing could be tried");
            Err(Failure::new(format_args!("{}: {why}", score.skill)))
        }
        None => Ok(()),
    }
}

/// What a model has tried so far.
struct Tried<'a> {
    name: &'a str,
    /// Whether the skills were asked for by name.
    named: bool,
    cancel: &'a Cancel,
    answers: Option<&'a mut BufWriter<File>>,
    scores: Vec<Score>,
}

impl Tried<'_> {
    fn item(&mut self, session: &mut Session, item: &Item) -> Result<()> {
        session.truncate(0);
        let done = match &item.task {
            Task::Text(text) => likelihood(session, text, self.cancel).map(Outcome::Text),
            Task::Question { messages, .. } => ask(session, messages, self.cancel),
        };
        let Some(score) = score::row(&mut self.scores, &item.skill, item.length) else { return Ok(()) };
        match (done, &item.task) {
            (Ok(Outcome::Text(one)), _) => {
                score.items += 1;
                let sum = score.text.get_or_insert_default();
                sum.nats += one.nats;
                sum.tokens += one.tokens;
                sum.bytes += one.bytes;
            }
            (Ok(Outcome::Answer(given)), Task::Question { answer, .. }) => {
                let right = given == *answer;
                score.items += 1;
                score.right += usize::from(right);
                let formed = match &*item.skill {
                    "json" => Some(formed::json(&given)),
                    "tools" => Some(formed::calls(&given)),
                    _ => None,
                };
                if let Some(formed) = formed {
                    *score.formed.get_or_insert_default() += usize::from(formed);
                }
                if let Some(file) = &mut self.answers {
                    let line = json!({ "type": self.name, "id": item.id, "answer": given, "right": right });
                    writeln!(file, "{line}").at("--answers")?;
                }
            }
            (Ok(Outcome::Answer(_)), Task::Text(_)) => {}
            (Ok(Outcome::Cancelled), _) => return Err(Failure::new(CANCELLED)),
            // Asked for by name: no use in trying the rest.
            (Err(e), _) if self.named && e.kind() == ErrorKind::Unsupported => {
                return Err(Failure::new(format_args!("{}: {e}", item.skill)));
            }
            // What this model cannot take, whatever its weights: its row says so.
            (Err(e), _)
                if matches!(
                    e.kind(),
                    ErrorKind::Unsupported | ErrorKind::ContextFull | ErrorKind::BadInput
                ) =>
            {
                score.left_out += 1;
                score.why.get_or_insert_with(|| e.to_string());
            }
            (Err(e), _) if e.kind() == ErrorKind::Cancelled => return Err(Failure::new(CANCELLED)),
            (Err(e), _) => return Err(Failure::new(format_args!("{}: {e}", item.id))),
        }
        Ok(())
    }
}

const CANCELLED: &str = "the evaluation was cancelled";

enum Outcome {
    Text(Likelihood),
    Answer(String),
    Cancelled,
}

/// The greedy answer to a conversation.
fn ask(session: &mut Session, messages: &[Message], cancel: &Cancel) -> Result<Outcome, puna::Error> {
    session.push(messages)?;
    let mut answer = session.generate(&Sampling::default()).max_tokens(LONGEST).cancel(cancel);
    let text = answer.text()?;
    let cancelled = answer.finish() == Some(Finish::Cancelled);
    Ok(if cancelled { Outcome::Cancelled } else { Outcome::Answer(text) })
}

/// How likely a text is after the token that begins one.
fn likelihood(session: &mut Session, text: &str, cancel: &Cancel) -> Result<Likelihood, puna::Error> {
    let model = session.model().clone();
    let mut ids: Vec<u32> = model.bos().into_iter().collect();
    ids.extend(model.encode(text)?);
    let mut nats = 0.0;
    let (read, scored) = (ids.len().saturating_sub(1), ids.get(1..).unwrap_or_default());
    session.score(ids.get(..read).unwrap_or_default(), cancel, |place, logits| {
        if let Some(&next) = scored.get(place) {
            nats += super::perplexity::negative_log_likelihood(logits, next);
        }
        ControlFlow::Continue(())
    })?;
    Ok(Likelihood { nats, tokens: scored.len(), bytes: text.len() })
}
