//! From messages to tokens: the built-in prompt format of Llama 4, or the template inside the model's file.

use crate::Message;
use crate::error::{Error, Lift};
use alloc::vec::Vec;
use puna_text::Tokenizer;
use puna_text::chat::Llama4Prompt;

/// The tokens of messages that begin (`first`) or go on with a conversation in Llama 4's format.
pub(crate) fn llama4(
    tokenizer: &Tokenizer,
    messages: &[Message],
    first: bool,
    header: bool,
) -> Result<Vec<u32>, Error> {
    Llama4Prompt::new().encode_turns(tokenizer, messages, first, header).lift()
}

#[cfg(feature = "template")]
pub(crate) use template::Template;

#[cfg(feature = "template")]
mod template {
    use super::{Error, Lift, Message, Tokenizer};
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use puna_text::chat::Part;
    use puna_text::{ChatTemplate, Special, TemplateInput, TextError};

    /// The template of a model's file. That it cannot be compiled matters only to those who use it.
    pub(crate) struct Template(Result<ChatTemplate, TextError>);

    impl Template {
        pub(crate) fn new(source: &str) -> Self {
            Template(ChatTemplate::new(source))
        }

        /// The tokens of a whole conversation, with the opening of the answer.
        ///
        /// Special tokens that the template writes become their ids; those that are spelled out in a message stay
        /// text: a mark is put into each, and the rendered text is encoded in pieces from mark to mark.
        pub(crate) fn encode(&self, tokenizer: &Tokenizer, messages: &[Message]) -> Result<Vec<u32>, Error> {
            let template = self.0.as_ref().map_err(Clone::clone).lift()?;
            let mark = unused_char(messages);
            let messages =
                messages.iter().map(|m| defused(tokenizer, m, mark)).collect::<Result<Vec<_>, _>>()?;
            let name = |id: Option<u32>| {
                id.and_then(|id| tokenizer.token_bytes(id)).map(String::from_utf8_lossy).unwrap_or_default()
            };
            let (bos, eos) = (name(tokenizer.bos()), name(tokenizer.eos()));
            let input = TemplateInput {
                messages: &messages,
                bos_token: &bos,
                eos_token: &eos,
                add_generation_prompt: true,
                ..TemplateInput::default()
            };
            let text = template.render(&input).lift()?;
            let mut ids = Vec::new();
            for piece in text.split(mark) {
                tokenizer.encode_into(piece, Special::Recognize, &mut ids).lift()?;
            }
            if let Some(bos) = tokenizer.bos().filter(|bos| tokenizer.adds_bos() && ids.first() != Some(bos))
            {
                ids.insert(0, bos);
            }
            Ok(ids)
        }
    }

    /// A private-use character that no message contains.
    fn unused_char(messages: &[Message]) -> char {
        let used = |c: char| {
            messages.iter().any(|m| m.content.iter().any(|p| matches!(p, Part::Text(t) if t.contains(c))))
        };
        ('\u{F0000}'..='\u{FFFFD}').find(|&c| !used(c)).unwrap_or('\u{10FFFD}')
    }

    /// The message with `mark` behind the first character of each special token spelled out in it.
    fn defused(tokenizer: &Tokenizer, message: &Message, mark: char) -> Result<Message, Error> {
        let mut message = message.clone();
        for part in &mut message.content {
            let Part::Text(text) = part else { continue };
            // Breaking one token can bring another to light that overlapped it; each pass breaks at least one.
            while let Some(name) = special_in(tokenizer, text, mark)? {
                let mut chars = name.chars();
                let broken: String = chars.next().into_iter().chain([mark]).chain(chars).collect();
                *text = text.replace(&name, &broken);
            }
        }
        Ok(message)
    }

    /// A special token that would be recognised in the text.
    fn special_in(tokenizer: &Tokenizer, text: &str, mark: char) -> Result<Option<String>, Error> {
        for piece in text.split(mark) {
            let ids = tokenizer.encode(piece, Special::Recognize).lift()?;
            let special = ids.into_iter().find(|&id| tokenizer.is_special(id));
            let name = special
                .and_then(|id| tokenizer.token_bytes(id))
                .map(|b| String::from_utf8_lossy(b).to_string());
            // A token that stands in the text under another spelling could not be broken; it is left alone.
            if let Some(name) = name.filter(|name| name.chars().count() > 1 && text.contains(name.as_str())) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}
