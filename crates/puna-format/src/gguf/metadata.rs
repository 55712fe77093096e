//! The key-value part of a GGUF file, in order, with typed access that says what is wrong.

use super::{Array, FromValue, Value};
use crate::Result;
use crate::error::{ErrorKind, FormatError, Quoted, out_of_memory, reserve_exact};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// Keys and values, in file order, each key once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    entries: Vec<(String, Value)>,
    by_key: BTreeMap<String, usize>,
}

impl Metadata {
    /// No keys.
    pub fn new() -> Metadata {
        Metadata::default()
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> + Clone {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Whether the key is there.
    pub fn contains(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// The value as the file has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let &at = self.by_key.get(key)?;
        self.entries.get(at).map(|(_, value)| value)
    }

    /// The value as a `T`, if the key is there: `find::<u32>`, `f32`, `bool`, `&str`, `&Strings`, `Vec<u32>`…
    /// Integers convert between widths when they fit.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`], naming key, expected type and found value.
    pub fn find<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match T::from_value(value) {
            Some(value) => Ok(Some(value)),
            None => Err(FormatError::wrong_type(named(key), T::EXPECTED, value)),
        }
    }

    /// The value as a `T`.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] and [`ErrorKind::WrongType`].
    pub fn need<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T> {
        self.find(key)?.ok_or_else(|| FormatError::missing(named(key), T::EXPECTED))
    }

    /// A value that is either one number for all of `n` layers or a list of `n`, as a list of `n`.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`]; [`ErrorKind::BadValue`] for a list of another length;
    /// [`ErrorKind::OutOfMemory`] for an absurd `n`.
    pub fn find_per_layer<'a, T>(&'a self, key: &str, n: usize) -> Result<Option<Vec<T>>>
    where
        T: FromValue<'a> + Clone,
        Vec<T>: FromValue<'a>,
    {
        if !matches!(self.get(key), Some(Value::Array(_))) {
            let Some(one) = self.find::<T>(key)? else {
                return Ok(None);
            };
            let mut list = Vec::new();
            reserve_exact(&mut list, n, named(key))?;
            list.resize(n, one);
            return Ok(Some(list));
        }
        let list = self.find::<Vec<T>>(key)?;
        match &list {
            Some(list) if list.len() != n => {
                let expected = format_args!("one value or {n}");
                Err(FormatError::new(ErrorKind::BadValue, named(key), expected, list.len()))
            }
            _ => Ok(list),
        }
    }

    /// Sets a key: in place when it is there, else at the end.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into());
        match self.by_key.get(&key).and_then(|&at| self.entries.get_mut(at)) {
            Some(entry) => entry.1 = value,
            None => {
                self.by_key.insert(key.clone(), self.entries.len());
                self.entries.push((key, value));
            }
        }
    }

    /// Sets a key to a value written as JSON, as in `--override KEY=VALUE`; see [`Value::from_json`].
    ///
    /// # Errors
    /// [`ErrorKind::Syntax`] for no JSON, [`ErrorKind::WrongType`] for JSON that no metadata value can hold.
    pub fn set_json(&mut self, key: &str, json: &str) -> Result<()> {
        let value = serde_json::from_str(json).map_err(|e| {
            let found = format_args!("{} ({e})", Quoted(json));
            FormatError::new(ErrorKind::Syntax, named(key), "a value as JSON", found)
        })?;
        let value = Value::from_json(&value)
            .map_err(|e| FormatError::new(e.kind(), named(key), e.expected(), e.found()))?;
        self.set(key, value);
        Ok(())
    }

    /// Removes a key, keeping the order of the others.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.by_key.remove(key)?;
        for later in self.by_key.values_mut().filter(|later| **later > at) {
            *later -= 1;
        }
        (at < self.entries.len()).then(|| self.entries.remove(at).1)
    }

    /// Adds a key that must be new; the reader's way in.
    pub(super) fn insert_new(&mut self, key: String, value: Value, at: u64) -> Result<()> {
        if let Some(first) = self.by_key.get(&key) {
            let found = format_args!("it again as number {} after number {first}", self.entries.len());
            return Err(FormatError::new(ErrorKind::Duplicate, named(&key), "each key once", found).at(at));
        }
        let out = |e| out_of_memory(e, named(&key), size_of::<(String, Value)>());
        self.entries.try_reserve(1).map_err(out)?;
        self.set(key, value);
        Ok(())
    }

    /// The number of elements of the array under this key, if there is one.
    pub fn array_len(&self, key: &str) -> Option<usize> {
        match self.get(key)? {
            Value::Array(array) => Some(Array::len(array)),
            _ => None,
        }
    }
}

/// `key "llama4.block_count"`, for errors.
fn named(key: &str) -> impl core::fmt::Display + '_ {
    core::fmt::from_fn(move |f| write!(f, "key {}", Quoted(key)))
}
