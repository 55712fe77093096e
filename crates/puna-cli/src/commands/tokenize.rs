//! `puna tokenize`: text or messages to token ids.

use crate::args::TokenizeArgs;
use crate::failure::{Context, Failure, Result};
use crate::load::text_file;
use crate::output;
use puna_text::chat::{Llama4Prompt, parse_messages};
use puna_text::{Special, Tokenizer};
use serde_json::json;

pub(crate) fn run(args: &TokenizeArgs) -> Result<()> {
    let tokenizer = puna::internal::tokenizer(&args.tokenizer)?;
    let print = |ids: Vec<u32>| output::json(&json!(ids));
    if let Some(path) = &args.messages {
        let file = std::fs::read(path).at(path.display())?;
        let messages = parse_messages(&file).at(path.display())?;
        return print(Llama4Prompt::new().encode(&tokenizer, &messages, true)?);
    }
    if let Some(path) = &args.jsonl {
        for (i, line) in text_file(path)?.lines().enumerate() {
            let text: String =
                serde_json::from_str(line).at(format_args!("{}, line {}", path.display(), i + 1))?;
            print(encode(&tokenizer, &text, args)?)?;
        }
        return Ok(());
    }
    let text = match (&args.text, &args.file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => text_file(path)?,
        (None, None) => return Err(Failure::usage("expected --text, --file, --jsonl or --messages")),
    };
    print(encode(&tokenizer, &text, args)?)
}

fn encode(tokenizer: &Tokenizer, text: &str, args: &TokenizeArgs) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    if args.bos {
        let missing = "--bos: the tokenizer has no token that begins a text";
        ids.push(tokenizer.bos().ok_or_else(|| Failure::new(missing))?);
    }
    let special = if args.special { Special::Recognize } else { Special::AsText };
    tokenizer.encode_into(text, special, &mut ids)?;
    Ok(ids)
}
