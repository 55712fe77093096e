//! Llama 4's prompt format: a header, the content and an end marker for each message, as Meta's `ChatFormat` writes it.

use alloc::{borrow::Cow, string::String, vec::Vec};

use super::{ImageLayout, Message, Part, Role, StopReason, ToolFormat, tools::encode_call};
use crate::TextError;
use crate::special::{BEGIN_OF_TEXT, EOM, EOT, HEADER_END, HEADER_START};

/// Most tokens one image may take; the released models use at most 17 tiles, about 2,500 tokens.
const MAX_IMAGE_TOKENS: usize = 1 << 20;

/// What the prompt format needs of a tokenizer.
pub trait Encoder {
    /// Appends the tokens of plain text: no BOS, special tokens read as text.
    fn encode_text(&self, text: &str, out: &mut Vec<u32>) -> Result<(), TextError>;
    /// The id of a special token.
    fn special_id(&self, name: &str) -> Option<u32>;
}

/// A piece of a prompt. Each [`Text`](Self::Text) is encoded by itself: never merged with its neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment<'m> {
    /// A special token, by name.
    Special(&'static str),
    /// Text.
    Text(Cow<'m, str>),
    /// An image's tokens.
    Image(ImageLayout),
}

/// Renders conversations in Llama 4's prompt format.
///
/// Nothing is trimmed and no message is added. Tool results end with `<|eom|>`, and so does an assistant message that
/// calls tools or whose stop reason is [`StopReason::EndOfMessage`]; everything else ends with `<|eot|>`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Llama4Prompt {
    tool_format: ToolFormat,
}

impl Llama4Prompt {
    /// The format with tool calls as JSON objects.
    pub const fn new() -> Self {
        Self { tool_format: ToolFormat::Json }
    }

    /// The format with tool calls written in another way.
    #[must_use]
    pub const fn with_tool_format(mut self, tool_format: ToolFormat) -> Self {
        self.tool_format = tool_format;
        self
    }

    /// The tokens of a whole conversation from its BOS on, with the header of the answer if asked for.
    pub fn encode(
        &self,
        encoder: &impl Encoder,
        messages: &[Message],
        generation_header: bool,
    ) -> Result<Vec<u32>, TextError> {
        self.encode_turns(encoder, messages, true, generation_header)
    }

    /// The tokens of messages that begin a conversation (`first`: with BOS) or continue one.
    ///
    /// Pushing messages in any portions gives the same tokens as [`encode`](Self::encode) of all of them.
    pub fn encode_turns(
        &self,
        encoder: &impl Encoder,
        messages: &[Message],
        first: bool,
        generation_header: bool,
    ) -> Result<Vec<u32>, TextError> {
        let mut out = Vec::new();
        if first {
            encode_segment(encoder, &Segment::Special(BEGIN_OF_TEXT), &mut out)?;
        }
        for message in messages {
            for segment in self.message(message)? {
                encode_segment(encoder, &segment, &mut out)?;
            }
        }
        if generation_header {
            for segment in header(Role::Assistant) {
                encode_segment(encoder, &segment, &mut out)?;
            }
        }
        Ok(out)
    }

    /// The segments of one message, header to end marker.
    pub fn message<'m>(&self, message: &'m Message) -> Result<Vec<Segment<'m>>, TextError> {
        let mut segments = Vec::from(header(message.role));
        for part in &message.content {
            segments.push(match part {
                Part::Text(text) => Segment::Text(Cow::Borrowed(text)),
                Part::Image(layout) => Segment::Image(*layout),
                Part::Picture(image) => {
                    let found = format_args!("{image:?}");
                    return Err(TextError::image("message", "an image cut into tiles", found));
                }
            });
        }
        let mut waits = message.role == Role::Tool;
        if message.role == Role::Assistant {
            waits = message.stop_reason == StopReason::EndOfMessage || !message.tool_calls.is_empty();
            for call in &message.tool_calls {
                segments.push(Segment::Text(Cow::Owned(encode_call(call, self.tool_format)?)));
            }
        }
        segments.push(Segment::Special(if waits { EOM } else { EOT }));
        Ok(segments)
    }

    /// The segments of a whole conversation from its BOS on, with the header of the answer if asked for.
    pub fn segments<'m>(
        &self,
        messages: &'m [Message],
        generation_header: bool,
    ) -> Result<Vec<Segment<'m>>, TextError> {
        let mut segments = Vec::from([Segment::Special(BEGIN_OF_TEXT)]);
        for message in messages {
            segments.extend(self.message(message)?);
        }
        if generation_header {
            segments.extend(header(Role::Assistant));
        }
        Ok(segments)
    }

    /// The conversation as text with its markers spelled out, for people to read.
    pub fn render(&self, messages: &[Message], generation_header: bool) -> Result<String, TextError> {
        let mut out = String::new();
        for segment in self.segments(messages, generation_header)? {
            match segment {
                Segment::Special(name) => out.push_str(name),
                Segment::Text(text) => out.push_str(&text),
                Segment::Image(layout) => {
                    check_image(layout)?;
                    out.extend(layout.tokens());
                }
            }
        }
        Ok(out)
    }
}

fn header(role: Role) -> [Segment<'static>; 4] {
    [
        Segment::Special(HEADER_START),
        Segment::Text(Cow::Borrowed(role.header())),
        Segment::Special(HEADER_END),
        Segment::Text(Cow::Borrowed("\n\n")),
    ]
}

fn check_image(layout: ImageLayout) -> Result<(), TextError> {
    let found = usize::try_from(layout.n_tokens()).unwrap_or(usize::MAX);
    if found > MAX_IMAGE_TOKENS {
        return Err(TextError::TooLarge { what: "tokens of an image", limit: MAX_IMAGE_TOKENS, found });
    }
    Ok(())
}

fn encode_segment(
    encoder: &impl Encoder,
    segment: &Segment<'_>,
    out: &mut Vec<u32>,
) -> Result<(), TextError> {
    let special = |name: &str| encoder.special_id(name).ok_or_else(|| TextError::missing(name));
    match segment {
        Segment::Special(name) => out.push(special(name)?),
        Segment::Text(text) => encoder.encode_text(text, out)?,
        Segment::Image(layout) => {
            check_image(*layout)?;
            let mut last = ("", 0);
            for name in layout.tokens() {
                if name != last.0 {
                    last = (name, special(name)?);
                }
                out.push(last.1);
            }
        }
    }
    Ok(())
}
