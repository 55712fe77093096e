//! Reads a conversation from a JSON list of messages.

use alloc::{format, string::String, vec::Vec};

use super::{MAX_SIDE, Message, Part, Role, StopReason, ToolCall};
use crate::{Json, TextError};

const WHAT: &str = "messages";

/// Reads `[{"role", "content", "tool_calls", "stop_reason"}, …]`.
///
/// `role` is system, user, assistant or tool (ipython means the same). `content` is a string or a list of
/// `{"type": "text", "text": …}` and images; it may be null or absent where there are tool calls. A tool call is
/// `{"name", "arguments"}`, or the same inside `{"function": …}` with the arguments as JSON in a string.
/// `stop_reason` is end_of_turn or end_of_message. Other keys are ignored.
///
/// # Errors
/// [`TextError::Malformed`] that says where; an image, for which there is [`parse_messages_with`].
pub fn parse_messages(json: &[u8]) -> Result<Vec<Message>, TextError> {
    parse_messages_with(json, &mut |_| Err("an image, which the program must give".into()))
}

/// An image in a list of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageSource<'j> {
    /// A file: `{"type": "image", "path": …}`.
    Path(&'j str),
    /// Only its width and height, each from 1 to [`MAX_SIDE`]: `{"type": "image", "w": …, "h": …}`.
    Size(usize, usize),
}

/// What makes a part of an image, or says what it found in its place.
pub type OpenImage<'f> = dyn FnMut(ImageSource<'_>) -> Result<Part, String> + 'f;

/// [`parse_messages`], with `image` to make something of the images in it.
///
/// # Errors
/// As [`parse_messages`], and what `image` says, with the place.
pub fn parse_messages_with(json: &[u8], image: &mut OpenImage<'_>) -> Result<Vec<Message>, TextError> {
    let json: Json = serde_json::from_slice(json).map_err(|e| crate::json::parse_error(WHAT, &e))?;
    let Json::Array(items) = json else {
        return Err(TextError::malformed(WHAT, "top level", "an array of messages", json.kind()));
    };
    let item = |(i, item): (usize, &Json)| message(item, &format!("message {i}"), image);
    items.iter().enumerate().map(item).collect()
}

fn message(json: &Json, at: &str, image: &mut OpenImage<'_>) -> Result<Message, TextError> {
    if !matches!(json, Json::Object(_)) {
        return Err(TextError::malformed(WHAT, at, "an object", json.kind()));
    }
    let name = string(json.get("role"), at, "role")?;
    let role = Role::parse(name).ok_or_else(|| {
        TextError::malformed(WHAT, format!("{at}, role"), "system, user, assistant or tool", name)
    })?;
    let tool_calls = match json.get("tool_calls") {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::Array(calls)) => calls
            .iter()
            .enumerate()
            .map(|(i, call)| tool_call(call, &format!("{at}, tool call {i}")))
            .collect::<Result<_, _>>()?,
        Some(other) => {
            return Err(TextError::malformed(WHAT, format!("{at}, tool_calls"), "an array", other.kind()));
        }
    };
    let content = match json.get("content") {
        Some(Json::String(text)) => Vec::from([Part::Text(text.clone())]),
        Some(Json::Array(parts)) => parts
            .iter()
            .enumerate()
            .map(|(i, part)| content_part(part, &format!("{at}, part {i}"), image))
            .collect::<Result<_, _>>()?,
        None | Some(Json::Null) if !tool_calls.is_empty() => Vec::new(),
        other => {
            let found = other.map_or("nothing", Json::kind);
            return Err(TextError::malformed(
                WHAT,
                format!("{at}, content"),
                "a string or an array of parts",
                found,
            ));
        }
    };
    let stop_reason = match json.get("stop_reason") {
        None | Some(Json::Null) => StopReason::EndOfTurn,
        value => match string(value, at, "stop_reason")? {
            "end_of_turn" => StopReason::EndOfTurn,
            "end_of_message" => StopReason::EndOfMessage,
            other => {
                let at = format!("{at}, stop_reason");
                return Err(TextError::malformed(WHAT, at, "end_of_turn or end_of_message", other));
            }
        },
    };
    Ok(Message { role, content, tool_calls, stop_reason })
}

fn content_part(json: &Json, at: &str, image: &mut OpenImage<'_>) -> Result<Part, TextError> {
    match string(json.get("type"), at, "type")? {
        "text" => Ok(Part::Text(string(json.get("text"), at, "text")?.into())),
        "image" => {
            let source = match json.get("path") {
                Some(path) => ImageSource::Path(string(Some(path), at, "path")?),
                None => ImageSource::Size(side(json, at, "w")?, side(json, at, "h")?),
            };
            image(source)
                .map_err(|found| TextError::malformed(WHAT, format!("{at}, image"), "an image", found))
        }
        other => Err(TextError::malformed(WHAT, format!("{at}, type"), "text or image", other)),
    }
}

/// A side of an image.
fn side(json: &Json, at: &str, key: &str) -> Result<usize, TextError> {
    let value = json.get(key);
    let n = match value {
        Some(Json::Int(n)) => usize::try_from(*n).ok(),
        _ => None,
    };
    n.filter(|n| (1..=MAX_SIDE).contains(n)).ok_or_else(|| {
        let found = value.map_or("nothing", Json::kind);
        TextError::malformed(WHAT, format!("{at}, {key}"), format!("1 to {MAX_SIDE} pixels"), found)
    })
}

fn tool_call(json: &Json, at: &str) -> Result<ToolCall, TextError> {
    let (call, wrapped) = json.get("function").map_or((json, false), |inner| (inner, true));
    let name = String::from(string(call.get("name"), at, "name")?);
    let arguments = match call.get("arguments").or_else(|| call.get("parameters")) {
        None => Json::Object(Vec::new()),
        Some(Json::String(text)) if wrapped => Json::parse(text.as_bytes()).map_err(|error| {
            TextError::malformed(WHAT, format!("{at}, arguments"), "JSON in a string", error)
        })?,
        Some(value) => value.clone(),
    };
    Ok(ToolCall { name, arguments })
}

fn string<'j>(value: Option<&'j Json>, at: &str, key: &str) -> Result<&'j str, TextError> {
    value.and_then(Json::as_str).ok_or_else(|| {
        TextError::malformed(WHAT, format!("{at}, {key}"), "a string", value.map_or("nothing", Json::kind))
    })
}
