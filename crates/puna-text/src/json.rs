//! JSON values that keep the order of keys, and print as Python prints them.
//!
//! Tool calls and tool descriptions become part of a prompt, so their text must be what Meta's code and the model's
//! template would make of them: keys in the order given, Python's spacing, escapes and floats.

use alloc::{format, string::String, vec::Vec};
use core::fmt;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::TextError;

/// A JSON value with ordered objects.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number written without fraction or exponent.
    Int(i128),
    /// Any other number; finite.
    Float(f64),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object; keys are unique and in the order of the source.
    Object(Vec<(String, Json)>),
}

/// How to lay out JSON text; the default is Python's `json.dumps(value)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonStyle {
    /// Spaces for each level, one item a line; `None` puts everything on one line with `", "` and `": "`.
    pub indent: Option<usize>,
    /// Escapes everything outside printable ASCII.
    pub ascii: bool,
}

impl Default for JsonStyle {
    fn default() -> Self {
        Self { indent: None, ascii: true }
    }
}

impl Json {
    /// Reads one JSON document; nesting past 128 levels and repeated keys are errors.
    pub fn parse(text: &[u8]) -> Result<Self, TextError> {
        serde_json::from_slice(text).map_err(|e| parse_error("JSON", &e))
    }

    /// The value of a key, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Self::Object(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(s) = self { Some(s) } else { None }
    }

    /// The items of an array.
    pub fn as_array(&self) -> Option<&[Json]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// The value as JSON text.
    pub fn dump(&self, style: JsonStyle) -> String {
        let mut out = String::new();
        self.write(style, 0, &mut out);
        out
    }

    /// The kind of value, for errors.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }

    fn write(&self, style: JsonStyle, depth: usize, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Self::Int(n) => out.push_str(&format!("{n}")),
            Self::Float(x) => out.push_str(&python_float(*x)),
            Self::String(s) => quote(s, style.ascii, out),
            Self::Array(items) => {
                list(style, depth, '[', ']', items, out, |item, out| item.write(style, depth + 1, out))
            }
            Self::Object(entries) => list(style, depth, '{', '}', entries, out, |(key, value), out| {
                quote(key, style.ascii, out);
                out.push_str(": ");
                value.write(style, depth + 1, out);
            }),
        }
    }
}

fn list<T>(
    style: JsonStyle,
    depth: usize,
    open: char,
    close: char,
    items: &[T],
    out: &mut String,
    mut write: impl FnMut(&T, &mut String),
) {
    let new_line = |depth: usize, out: &mut String| {
        if let Some(indent) = style.indent {
            out.push('\n');
            out.extend(core::iter::repeat_n(' ', indent.saturating_mul(depth)));
        }
    };
    out.push(open);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(if style.indent.is_some() { "," } else { ", " });
        }
        new_line(depth + 1, out);
        write(item, out);
    }
    if !items.is_empty() {
        new_line(depth, out);
    }
    out.push(close);
}

fn quote(text: &str, ascii: bool, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            c if !ascii && c >= ' ' => out.push(c),
            c => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
}

/// A finite float as Python's `repr` writes it: the shortest digits that read back, an exponent below 1e-4 and from
/// 1e16 on.
pub(crate) fn python_float(x: f64) -> String {
    let scientific = format!("{x:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(-4..=15) => {
            let plain = format!("{x}");
            if plain.contains('.') { plain } else { plain + ".0" }
        }
        Ok(e) => format!("{digits}e{}{:02}", if e < 0 { '-' } else { '+' }, e.unsigned_abs()),
        Err(_) => scientific,
    }
}

/// A JSON error of serde, with line and column as its place.
pub(crate) fn parse_error(what: &'static str, error: &serde_json::Error) -> TextError {
    let at = format!("line {}, column {}", error.line(), error.column());
    TextError::malformed(what, at, "valid JSON of the documented shape", error)
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct JsonVisitor;
        impl<'de> Visitor<'de> for JsonVisitor {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }
            fn visit_bool<E>(self, b: bool) -> Result<Json, E> {
                Ok(Json::Bool(b))
            }
            fn visit_i64<E>(self, n: i64) -> Result<Json, E> {
                Ok(Json::Int(n.into()))
            }
            fn visit_u64<E>(self, n: u64) -> Result<Json, E> {
                Ok(Json::Int(n.into()))
            }
            fn visit_f64<E>(self, x: f64) -> Result<Json, E> {
                Ok(Json::Float(x))
            }
            fn visit_str<E>(self, s: &str) -> Result<Json, E> {
                Ok(Json::String(s.into()))
            }
            fn visit_string<E>(self, s: String) -> Result<Json, E> {
                Ok(Json::String(s))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Json::Array(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut entries: Vec<(String, Json)> = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                let mut keys: Vec<&str> = entries.iter().map(|(k, _)| k.as_str()).collect();
                keys.sort_unstable();
                if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
                    return Err(A::Error::custom(format_args!("key {:?} appears twice", pair[0])));
                }
                Ok(Json::Object(entries))
            }
        }
        deserializer.deserialize_any(JsonVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_python_does() {
        let json = Json::parse("{\"b\": [1, 2.50, 1e16, 1e-5, 123456789012345.6, -0.0, 5e-324], \"a\": {\"é😀\\u007f\": null}, \"c\": [], \"d\": {}, \"t\": true}".as_bytes()).unwrap();
        assert_eq!(
            json.dump(JsonStyle::default()),
            r#"{"b": [1, 2.5, 1e+16, 1e-05, 123456789012345.6, -0.0, 5e-324], "a": {"\u00e9\ud83d\ude00\u007f": null}, "c": [], "d": {}, "t": true}"#
        );
        let small = Json::parse(br#"{"x": ["y", 1], "z": {}}"#).unwrap();
        assert_eq!(
            small.dump(JsonStyle { indent: Some(4), ascii: false }),
            "{\n    \"x\": [\n        \"y\",\n        1\n    ],\n    \"z\": {}\n}"
        );
    }

    #[test]
    fn hostile_json_is_refused() {
        let deep = "[".repeat(100_000);
        assert!(matches!(Json::parse(deep.as_bytes()), Err(TextError::Malformed { .. })));
        assert!(matches!(Json::parse(br#"{"a": 1, "a": 2}"#), Err(TextError::Malformed { .. })));
        assert!(matches!(Json::parse(b"[1e999]"), Err(TextError::Malformed { .. })));
    }
}
