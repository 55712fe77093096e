//! Finds the tool calls in a model's answer, in any of the ways Llama 4 writes them.

use alloc::{string::String, vec::Vec};

use super::ToolCall;
use crate::Json;
use crate::special::{EOM, EOT, HEADER_END, PYTHON_END, PYTHON_START};

/// Nesting of values in a Python-like call.
const MAX_DEPTH: usize = 64;

/// The tool calls in an answer, in order; none if it is plain text.
///
/// Tried in this order: `<function=NAME>{…}</function>`; JSON objects with a `name` and `parameters` or `arguments`,
/// alone, in arrays, one after another or split by `;`; lists of Python calls with keyword arguments; built-in
/// `tool.call(query="…")`. Text around calls, a leading header, end markers and Python markers are passed over.
pub fn parse_tool_calls(answer: &str) -> Vec<ToolCall> {
    let body = match answer.split_once(HEADER_END) {
        Some((_, rest)) => rest,
        None => answer,
    };
    let mut text = body.replace(PYTHON_START, "").replace(PYTHON_END, "");
    for end in [EOT, EOM] {
        if let Some(at) = text.find(end) {
            text.truncate(at);
        }
    }
    [tagged, json_objects, python_lists, builtin]
        .iter()
        .map(|find| find(&text))
        .find(|calls| !calls.is_empty())
        .unwrap_or_default()
}

fn tagged(text: &str) -> Vec<ToolCall> {
    let mut calls = Vec::new();
    for rest in text.split("<function=").skip(1) {
        if let Some((name, rest)) = rest.split_once('>')
            && let Some((arguments, _)) = read_json(rest.trim_start())
        {
            calls.push(ToolCall { name: name.trim().into(), arguments });
        }
    }
    calls
}

fn json_objects(text: &str) -> Vec<ToolCall> {
    let mut calls = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        rest = &rest[at..];
        match read_json(rest) {
            Some((value, length)) => {
                calls.extend(call_of(&value));
                rest = &rest[length..];
            }
            None => rest = &rest[1..],
        }
    }
    calls
}

/// The JSON value at the start of a text, and its length in bytes.
fn read_json(text: &str) -> Option<(Json, usize)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Json>();
    match values.next() {
        Some(Ok(value)) => Some((value, values.byte_offset())),
        _ => None,
    }
}

fn call_of(value: &Json) -> Option<ToolCall> {
    let call = value.get("function").filter(|inner| matches!(inner, Json::Object(_))).unwrap_or(value);
    let name = call.get("name")?.as_str()?;
    let arguments = match call.get("parameters").or_else(|| call.get("arguments")) {
        None | Some(Json::Null) => Json::Object(Vec::new()),
        Some(Json::String(text)) => {
            Json::parse(text.as_bytes()).unwrap_or_else(|_| Json::String(text.clone()))
        }
        Some(value) => value.clone(),
    };
    Some(ToolCall { name: name.into(), arguments })
}

fn python_lists(text: &str) -> Vec<ToolCall> {
    let mut calls = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        rest = &rest[at + 1..];
        let mut python = Python { rest };
        if let Some(list) = python.calls() {
            calls.extend(list);
            rest = python.rest;
        }
    }
    calls
}

fn builtin(text: &str) -> Vec<ToolCall> {
    const CALL: &str = ".call(query=\"";
    let Some((before, rest)) = text.split_once(CALL) else { return Vec::new() };
    let name = before.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
    match rest.split_once("\")") {
        Some((query, _)) if !name.is_empty() && !query.contains('"') => {
            let arguments = Json::Object(Vec::from([("query".into(), Json::String(query.into()))]));
            Vec::from([ToolCall { name: name.into(), arguments }])
        }
        _ => Vec::new(),
    }
}

/// A reader of Python literals and of calls with keyword arguments.
struct Python<'t> {
    rest: &'t str,
}

impl Python<'_> {
    /// Takes `token` after white space.
    fn take(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(token)?;
        Some(())
    }

    fn name(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        let end = self
            .rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.rest = rest;
        Some(name.into())
    }

    /// Items up to `close`, with commas between them and perhaps one at the end.
    fn items(&mut self, close: &str, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        while self.take(close).is_none() {
            item(self)?;
            if self.take(",").is_none() {
                return self.take(close);
            }
        }
        Some(())
    }

    /// The calls of a list whose bracket is already open; at least one.
    fn calls(&mut self) -> Option<Vec<ToolCall>> {
        let mut calls = Vec::new();
        self.items("]", |python| {
            let name = python.name()?;
            python.take("(")?;
            let mut arguments = Vec::new();
            python.items(")", |python| {
                let key = python.name()?;
                python.take("=")?;
                arguments.push((key, python.value(0)?));
                Some(())
            })?;
            calls.push(ToolCall { name, arguments: Json::Object(arguments) });
            Some(())
        })?;
        if calls.is_empty() { None } else { Some(calls) }
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.rest = self.rest.trim_start();
        match self.rest.chars().next()? {
            quote @ ('"' | '\'') => self.string(quote).map(Json::String),
            open @ ('[' | '(') => {
                self.rest = &self.rest[1..];
                let mut items = Vec::new();
                self.items(if open == '[' { "]" } else { ")" }, |python| {
                    items.push(python.value(depth + 1)?);
                    Some(())
                })?;
                Some(Json::Array(items))
            }
            '{' => {
                self.rest = &self.rest[1..];
                let mut entries = Vec::new();
                self.items("}", |python| {
                    let Json::String(key) = python.value(depth + 1)? else { return None };
                    python.take(":")?;
                    entries.push((key, python.value(depth + 1)?));
                    Some(())
                })?;
                Some(Json::Object(entries))
            }
            c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number(),
            _ => match self.name()?.as_str() {
                "True" | "true" => Some(Json::Bool(true)),
                "False" | "false" => Some(Json::Bool(false)),
                "None" | "null" => Some(Json::Null),
                _ => None,
            },
        }
    }

    fn number(&mut self) -> Option<Json> {
        let digits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | '_');
        let end = self.rest.find(|c| !digits(c)).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let text = text.replace('_', "");
        match text.parse::<i128>() {
            Ok(n) => Some(Json::Int(n)),
            Err(_) => text.parse::<f64>().ok().filter(|x| x.is_finite()).map(Json::Float),
        }
    }

    fn string(&mut self, quote: char) -> Option<String> {
        let mut out = String::new();
        let mut chars = self.rest[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.rest = &self.rest[1 + at + 1..];
                    return Some(out);
                }
                '\\' => match chars.next()?.1 {
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    'r' => out.push('\r'),
                    '\n' => {}
                    c @ ('\\' | '\'' | '"') => out.push(c),
                    code @ ('x' | 'u' | 'U') => {
                        let length = match code {
                            'x' => 2,
                            'u' => 4,
                            _ => 8,
                        };
                        let mut value = 0;
                        for _ in 0..length {
                            value = value * 16 + chars.next()?.1.to_digit(16)?;
                        }
                        out.push(char::from_u32(value)?);
                    }
                    other => out.extend(['\\', other]),
                },
                c => out.push(c),
            }
        }
        None
    }
}
