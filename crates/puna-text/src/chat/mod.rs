//! Conversations, and the Llama 4 prompt format that turns them into tokens. Needs only `alloc`.

mod calls;
mod image;
mod llama4;
mod parse;
mod picture;
#[cfg(test)]
mod tests;
mod tools;

pub use calls::parse_tool_calls;
pub use image::{ImageLayout, ImageTokens};
pub use llama4::{Encoder, Llama4Prompt, Segment};
pub use parse::{ImageSource, OpenImage, parse_messages, parse_messages_with};
pub use picture::{Image, MAX_SIDE};
pub use tools::{ToolFormat, tools_in_system, tools_in_user};

use crate::Json;
use alloc::{string::String, vec::Vec};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions that come before the conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool's result; Llama calls this role `ipython`.
    Tool,
}

impl Role {
    /// The role's name in OpenAI-like message lists and Jinja templates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }

    /// The role's name in a Llama header.
    pub const fn header(self) -> &'static str {
        match self {
            Self::Tool => "ipython",
            other => other.as_str(),
        }
    }

    /// The role of a name; `tool` and `ipython` mean the same.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "system" => Self::System,
            "user" => Self::User,
            "assistant" => Self::Assistant,
            "tool" | "ipython" => Self::Tool,
            _ => return None,
        })
    }
}

/// One part of a message's content.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// Text, taken as it is: special tokens in it are plain text.
    Text(String),
    /// An image, by the tiles it was cut into.
    Image(ImageLayout),
    /// An image, by its pixels; a model that sees must turn it into a [`Part::Image`] before it can be encoded.
    Picture(Image),
}

impl From<Image> for Part {
    fn from(image: Image) -> Self {
        Part::Picture(image)
    }
}

impl From<String> for Part {
    fn from(text: String) -> Self {
        Part::Text(text)
    }
}

impl From<&str> for Part {
    fn from(text: &str) -> Self {
        Part::Text(text.into())
    }
}

/// A call of a tool by the assistant.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// The arguments, usually an object.
    pub arguments: Json,
}

/// Why an assistant message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StopReason {
    /// The answer is complete.
    #[default]
    EndOfTurn,
    /// The assistant waits for a tool's result.
    EndOfMessage,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub content: Vec<Part>,
    /// Tools called after the content; only the assistant's count.
    pub tool_calls: Vec<ToolCall>,
    /// How the message ended; only the assistant's counts.
    pub stop_reason: StopReason,
}

impl Message {
    /// A message of one text.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self::from_parts(role, Vec::from([Part::Text(text.into())]))
    }

    /// A message of several parts.
    pub const fn from_parts(role: Role, content: Vec<Part>) -> Self {
        Self { role, content, tool_calls: Vec::new(), stop_reason: StopReason::EndOfTurn }
    }

    /// Instructions.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new(Role::System, text)
    }

    /// Something the person says.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, text)
    }

    /// Something the model said.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new(Role::Assistant, text)
    }

    /// A tool's result.
    pub fn tool(text: impl Into<String>) -> Self {
        Self::new(Role::Tool, text)
    }

    /// The message with a part added.
    #[must_use]
    pub fn with(mut self, part: impl Into<Part>) -> Self {
        self.content.push(part.into());
        self
    }

    /// The message with a tool call added.
    #[must_use]
    pub fn with_tool_call(mut self, name: impl Into<String>, arguments: Json) -> Self {
        self.tool_calls.push(ToolCall { name: name.into(), arguments });
        self
    }

    /// The message with another stop reason.
    #[must_use]
    pub const fn with_stop_reason(mut self, stop_reason: StopReason) -> Self {
        self.stop_reason = stop_reason;
        self
    }

    /// All text of the content, images left out.
    pub fn text(&self) -> String {
        self.content
            .iter()
            .filter_map(|part| if let Part::Text(t) = part { Some(t.as_str()) } else { None })
            .collect()
    }
}
