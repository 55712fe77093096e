//! `puna generate`: text or tokens after a prompt.

use crate::args::{GenerateArgs, token_ids};
use crate::failure::{Failure, Result};
use crate::image::{open, question};
use crate::load::{model_or_shipped, prompt_format, sampling, session_options, text_file};
use crate::output;
use puna::{Message, Session, Token};
use serde_json::{Value, json};
use std::io::Write;

pub(crate) fn run(args: &GenerateArgs, quiet: bool) -> Result<()> {
    let model = model_or_shipped(args.model.as_deref(), &args.options, quiet)?;
    let options = session_options(&args.options, None, quiet);
    let mut session = model.session(&prompt_format(options, args.template))?;
    push(&mut session, args)?;

    let mut sampling = sampling(&args.sampling);
    sampling.logprobs = args.logprobs;
    let stops = args.stop.iter().map(String::as_str);
    let mut answer = session.generate(&sampling).max_tokens(args.max_tokens).stop_strings(stops);
    if args.ignore_eos {
        answer = answer.ignore_end();
    }
    let (mut text, mut tokens, mut logprobs) = (String::new(), Vec::new(), Vec::new());
    let mut out = std::io::stdout().lock();
    for token in answer.by_ref() {
        let token = token?;
        if !args.json {
            out.write_all(token.text().as_bytes())?;
            out.flush()?;
            continue;
        }
        text.push_str(token.text());
        if !token.is_end() {
            tokens.push(token.id());
            logprobs.push(logprob(&token));
        }
    }
    drop(out);
    if !args.json {
        return output::text("\n");
    }
    let stats = answer.stats();
    let mut result = json!({
        "tokens": tokens,
        "text": text,
        "finish": answer.finish().map(puna::Finish::as_str),
        "prompt_tokens": stats.prompt_tokens,
        "prefill_s": stats.prefill.as_secs_f64(),
        "decode_s": stats.decode.as_secs_f64(),
    });
    if args.logprobs.is_some() {
        result["logprobs"] = Value::Array(logprobs);
    }
    output::json(&result)
}

fn logprob(token: &Token) -> Value {
    let top: Vec<Value> =
        token.top_logprobs().iter().map(|(id, l)| json!({"id": id, "logprob": l})).collect();
    json!({"id": token.id(), "logprob": token.logprob(), "top": top})
}

/// The prompt: ids as they are, a text with BOS if the model expects one, or a message; with its images.
fn push(session: &mut Session, args: &GenerateArgs) -> Result<()> {
    let images = open(&args.images)?;
    if args.tokens.is_some() || args.tokens_file.is_some() {
        let ids = token_ids(args.tokens.as_deref(), args.tokens_file.as_deref())?;
        return Ok(session.push_tokens(&ids)?);
    }
    let prompt = match (&args.prompt, &args.file) {
        (Some(prompt), _) => prompt.clone(),
        (None, Some(file)) => text_file(file)?,
        (None, None) => return Err(Failure::usage("expected --prompt, --file, --tokens or --tokens-file")),
    };
    if args.chat {
        let system = args.system.as_ref().map(Message::system);
        let messages: Vec<Message> = system.into_iter().chain([question(images, &prompt)]).collect();
        return Ok(session.push(&messages)?);
    }
    match images.is_empty() {
        true => Ok(session.push_text(&prompt)?),
        false => Ok(session.push_text_with(&prompt, &images)?),
    }
}
