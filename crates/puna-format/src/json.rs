//! JSON files under limits, and typed fields of them whose errors say the dotted path.
//!
//! A key that occurs twice in an object is an error at any depth: JSON leaves its meaning open, so two readers
//! of one file could load two different models.
//!
//! ```
//! use puna_format::{Limits, json};
//!
//! let file = json::parse(br#"{"text_config": {"hidden_size": 5120, "rope_theta": 5e5}}"#, &Limits::default())?;
//! let config = json::Object::root(&file)?;
//! let text = config.object("text_config")?.unwrap_or(config);
//! assert_eq!(text.need::<u32>("hidden_size")?, 5120);
//! assert_eq!(text.find::<f32>("attn_scale")?, None);
//! let error = text.need::<u32>("rope_theta").unwrap_err();
//! assert_eq!(error.what(), "text_config.rope_theta");
//! # Ok::<(), puna_format::FormatError>(())
//! ```

use crate::error::{Clipped, ErrorKind, FormatError, Quoted, out_of_memory, try_string};
use crate::{Limits, Result};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
pub use serde_json::{Map, Number, Value};

/// Parses one JSON document.
///
/// # Errors
/// [`ErrorKind::Limit`] for size, depth or number of values; [`ErrorKind::Duplicate`], [`ErrorKind::Utf8`],
/// [`ErrorKind::Syntax`], with the byte offset.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Value> {
    if bytes.len() as u64 > limits.json_bytes {
        return Err(FormatError::limit("JSON file", limits.json_bytes, "bytes", bytes.len() as u64));
    }
    let trap = Trap::default();
    let values = Cell::new(limits.json_values);
    let seed = ValueSeed { trap: &trap, limits, values: &values, depth: 0 };
    deserialize(bytes, 0, "JSON file", &trap, seed)
}

/// Where a visitor leaves its own error on the way out through serde, which would flatten it to text.
#[derive(Default)]
pub(crate) struct Trap(RefCell<Option<FormatError>>);

impl Trap {
    /// Keeps `error` and returns what serde wants.
    pub(crate) fn set<E: serde::de::Error>(&self, error: FormatError) -> E {
        self.0.borrow_mut().get_or_insert(error);
        E::custom("refused")
    }
}

/// Runs a seed over all of `bytes`, which begin at byte `start` of their file.
pub(crate) fn deserialize<'de, S: DeserializeSeed<'de>>(
    bytes: &'de [u8],
    start: u64,
    what: &str,
    trap: &Trap,
    seed: S,
) -> Result<S::Value> {
    let text = core::str::from_utf8(bytes).map_err(|e| {
        let found = format_args!("byte {:#04x}", bytes.get(e.valid_up_to()).unwrap_or(&0));
        FormatError::new(ErrorKind::Utf8, what, "UTF-8", found).at(start + e.valid_up_to() as u64)
    })?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|e| {
        let at = start + position(bytes, e.line(), e.column());
        if let Some(own) = trap.0.borrow_mut().take() {
            return own.at(at);
        }
        refusal(&e, what).at(at)
    })
}

/// serde_json's error as ours; it puts all in one sentence, which may quote any length of the file.
fn refusal(e: &serde_json::Error, what: &str) -> FormatError {
    let text = e.to_string();
    let place = format!(" at line {} column {}", e.line(), e.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    if e.classify() != Category::Data {
        return FormatError::new(ErrorKind::Syntax, what, "valid JSON", Clipped(text));
    }
    let (found, expected) = text.rsplit_once(", expected ").unwrap_or((text, "another value"));
    FormatError::wrong_type(what, Clipped(expected), Clipped(found))
}

/// The byte offset of serde_json's 1-based line and column; it counts columns in bytes.
fn position(bytes: &[u8], line: usize, column: usize) -> u64 {
    let lines_before = bytes.split_inclusive(|&b| b == b'\n').take(line.saturating_sub(1));
    (lines_before.map(<[u8]>::len).sum::<usize>() + column.saturating_sub(1)) as u64
}

/// Builds a [`Value`] while counting.
#[derive(Clone, Copy)]
struct ValueSeed<'a> {
    trap: &'a Trap,
    limits: &'a Limits,
    values: &'a Cell<u64>,
    depth: u64,
}

impl ValueSeed<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > self.limits.json_depth {
            let error = FormatError::limit("JSON file", self.limits.json_depth, "levels of nesting", depth);
            return Err(self.trap.set(error));
        }
        Ok(ValueSeed { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.values.get().checked_sub(1) else {
            let limit = self.limits.json_values;
            return Err(self.trap.set(FormatError::limit(
                "JSON file",
                limit,
                "values",
                limit.saturating_add(1),
            )));
        };
        self.values.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(Value::Number(n.into()))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Number(n.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, x: f64) -> Result<Value, E> {
        Number::from_f64(x).map(Value::Number).ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<Value, E> {
        try_string(s, "JSON string").map(Value::String).map_err(|e| self.trap.set(e))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(seed)? {
            let memory = |e| self.trap.set(out_of_memory(e, "JSON list", size_of::<Value>()));
            list.try_reserve(1).map_err(memory)?;
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(self.trap.set(duplicate_key(&key)));
            }
            let value = map.next_value_seed(seed)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

pub(crate) fn duplicate_key(key: &str) -> FormatError {
    let what = format_args!("JSON key {}", Quoted(key));
    FormatError::new(ErrorKind::Duplicate, what, "each key once in an object", "it a second time")
}

/// A JSON value in an error message: its kind, and the value itself when it is short.
pub(crate) struct Shown<'a>(pub(crate) &'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("null"),
            Value::Bool(b) => write!(f, "{b}"),
            Value::Number(n) => write!(f, "number {n}"),
            Value::String(s) => write!(f, "string {}", Quoted(s)),
            Value::Array(list) => write!(f, "a list of {}", list.len()),
            Value::Object(_) => f.write_str("an object"),
        }
    }
}

/// An object of a JSON file, which knows its own dotted path.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    map: &'a Map<String, Value>,
    /// The objects on the way here are one or two in a configuration; no list is needed.
    parents: [Option<&'a str>; 4],
}

impl<'a> Object<'a> {
    /// The file's outermost object.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`] when it is not an object.
    pub fn root(value: &'a Value) -> Result<Object<'a>> {
        let wrong = || FormatError::wrong_type("JSON file", "an object", Shown(value));
        Ok(Object { map: value.as_object().ok_or_else(wrong)?, parents: [None; 4] })
    }

    /// The field as it is; `null` counts as absent.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key is there, even as `null`.
    pub fn contains(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// Keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.map.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The dotted path of a field: `text_config.rope_scaling.factor`.
    pub fn path(&self, key: &str) -> String {
        let mut path = String::new();
        for parent in self.parents.iter().flatten() {
            path.push_str(parent);
            path.push('.');
        }
        path.push_str(key);
        path
    }

    /// The object under this key, if there is one. Of more than four levels the path in errors names the first.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`] when it is something else.
    pub fn object(&self, key: &str) -> Result<Option<Object<'a>>> {
        let Some((name, value)) = self.map.get_key_value(key).filter(|(_, value)| !value.is_null()) else {
            return Ok(None);
        };
        let map = value.as_object().ok_or_else(|| self.wrong(key, "an object", value))?;
        let mut parents = self.parents;
        if let Some(free) = parents.iter_mut().find(|parent| parent.is_none()) {
            *free = Some(name);
        }
        Ok(Some(Object { map, parents }))
    }

    /// The field as a `T`, if it is there and not `null`: `u32`, `f32`, `bool`, `&str`, `Vec<u32>`…
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`], naming the path (with the index in a list), what was expected and what found.
    pub fn find<T: FromJson<'a>>(&self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        T::from_json(value).map(Some).map_err(|bad| {
            let path = self.path(key);
            match bad.element {
                Some(i) => FormatError::wrong_type(format_args!("{path}[{i}]"), T::ELEMENT, Shown(bad.value)),
                None => FormatError::wrong_type(path, T::EXPECTED, Shown(bad.value)),
            }
        })
    }

    /// The field as a `T`.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] and [`ErrorKind::WrongType`].
    pub fn need<T: FromJson<'a>>(&self, key: &str) -> Result<T> {
        self.find(key)?.ok_or_else(|| FormatError::missing(self.path(key), T::EXPECTED))
    }

    /// An error about a field: of the right type, but with a value that cannot be.
    pub fn bad(&self, key: &str, expected: impl fmt::Display, found: impl fmt::Display) -> FormatError {
        FormatError::new(ErrorKind::BadValue, self.path(key), expected, found)
    }

    fn wrong(&self, key: &str, expected: &str, value: &Value) -> FormatError {
        FormatError::wrong_type(self.path(key), expected, Shown(value))
    }
}

/// The value that is not as expected.
#[derive(Debug)]
pub struct NotThis<'a> {
    value: &'a Value,
    element: Option<usize>,
}

/// A Rust type that a JSON value can be read as. Nothing converts but numbers: an integer from any integer that
/// fits, a float from any number.
pub trait FromJson<'a>: Sized {
    /// The type, for errors.
    const EXPECTED: &'static str;
    /// The type of a list's elements, for errors.
    const ELEMENT: &'static str = "";

    /// The value as this type.
    ///
    /// # Errors
    /// The value itself, or the element of it, that is something else.
    fn from_json(value: &'a Value) -> Result<Self, NotThis<'a>>;
}

macro_rules! from_json {
    ($($t:ty: $one:literal, $many:literal, $value:ident => $read:expr;)+) => {$(
        impl<'a> FromJson<'a> for $t {
            const EXPECTED: &'static str = $one;

            fn from_json($value: &'a Value) -> Result<$t, NotThis<'a>> {
                $read.ok_or(NotThis { value: $value, element: None })
            }
        }

        impl<'a> FromJson<'a> for Vec<$t> {
            const EXPECTED: &'static str = $many;
            const ELEMENT: &'static str = $one;

            fn from_json(value: &'a Value) -> Result<Vec<$t>, NotThis<'a>> {
                let list = value.as_array().ok_or(NotThis { value, element: None })?;
                let element = |(i, v)| <$t>::from_json(v).map_err(|bad| NotThis { element: Some(i), ..bad });
                list.iter().enumerate().map(element).collect()
            }
        }
    )+};
}

from_json! {
    u32: "an unsigned integer of 32 bits", "a list of unsigned integers of 32 bits",
        v => v.as_u64().and_then(|n| n.try_into().ok());
    u64: "an unsigned integer", "a list of unsigned integers", v => v.as_u64();
    usize: "an unsigned integer that fits this machine's sizes", "a list of unsigned integers",
        v => v.as_u64().and_then(|n| n.try_into().ok());
    i32: "an integer of 32 bits", "a list of integers of 32 bits", v => v.as_i64().and_then(|n| n.try_into().ok());
    i64: "an integer", "a list of integers", v => v.as_i64();
    f32: "a number", "a list of numbers", v => v.as_f64().map(|x| x as f32).filter(|x| x.is_finite());
    f64: "a number", "a list of numbers", v => v.as_f64();
    bool: "true or false", "a list of true or false", v => v.as_bool();
    &'a str: "a string", "a list of strings", v => v.as_str();
    &'a Value: "a value", "a list", v => Some(v);
}

#[cfg(test)]
mod tests;
