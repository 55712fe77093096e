//! Metadata values of GGUF, and how they become Rust types without losing anything.

use super::Strings;
use crate::Result;
use crate::error::FormatError;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The type of a metadata value; the discriminant is its id in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the GGUF value type of the same name")]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    /// Every type, in order of id.
    pub const ALL: [ValueType; 13] = [
        ValueType::U8,
        ValueType::I8,
        ValueType::U16,
        ValueType::I16,
        ValueType::U32,
        ValueType::I32,
        ValueType::F32,
        ValueType::Bool,
        ValueType::String,
        ValueType::Array,
        ValueType::U64,
        ValueType::I64,
        ValueType::F64,
    ];

    /// The type with this id.
    pub fn from_id(id: u32) -> Option<ValueType> {
        ValueType::ALL.get(usize::try_from(id).ok()?).copied()
    }

    /// The name: that of the Rust type, `"string"` or `"array"`.
    pub const fn name(self) -> &'static str {
        match self {
            ValueType::U8 => "u8",
            ValueType::I8 => "i8",
            ValueType::U16 => "u16",
            ValueType::I16 => "i16",
            ValueType::U32 => "u32",
            ValueType::I32 => "i32",
            ValueType::F32 => "f32",
            ValueType::Bool => "bool",
            ValueType::String => "string",
            ValueType::Array => "array",
            ValueType::U64 => "u64",
            ValueType::I64 => "i64",
            ValueType::F64 => "f64",
        }
    }

    /// Bytes of one value in a file; for strings and arrays the fewest possible.
    pub(super) const fn min_bytes(self) -> u64 {
        match self {
            ValueType::U8 | ValueType::I8 | ValueType::Bool => 1,
            ValueType::U16 | ValueType::I16 => 2,
            ValueType::U32 | ValueType::I32 | ValueType::F32 => 4,
            ValueType::String | ValueType::U64 | ValueType::I64 | ValueType::F64 => 8,
            ValueType::Array => 12,
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A metadata value, in the width the file has it in.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is the GGUF value type of the same name")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array value. GGUF arrays have one element type and do not nest.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is the GGUF value type of the same name")]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    String(Strings),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

/// One number of any width, for conversions.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
}

/// Runs `$body` with `$v` bound to the typed vector inside `$array`.
macro_rules! each_array {
    ($array:expr, $v:ident => $body:expr) => {
        match $array {
            Array::U8($v) => $body,
            Array::I8($v) => $body,
            Array::U16($v) => $body,
            Array::I16($v) => $body,
            Array::U32($v) => $body,
            Array::I32($v) => $body,
            Array::F32($v) => $body,
            Array::Bool($v) => $body,
            Array::String($v) => $body,
            Array::U64($v) => $body,
            Array::I64($v) => $body,
            Array::F64($v) => $body,
        }
    };
}

impl Array {
    /// The number of elements.
    pub fn len(&self) -> usize {
        each_array!(self, v => v.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the elements.
    pub const fn ty(&self) -> ValueType {
        match self {
            Array::U8(_) => ValueType::U8,
            Array::I8(_) => ValueType::I8,
            Array::U16(_) => ValueType::U16,
            Array::I16(_) => ValueType::I16,
            Array::U32(_) => ValueType::U32,
            Array::I32(_) => ValueType::I32,
            Array::F32(_) => ValueType::F32,
            Array::Bool(_) => ValueType::Bool,
            Array::String(_) => ValueType::String,
            Array::U64(_) => ValueType::U64,
            Array::I64(_) => ValueType::I64,
            Array::F64(_) => ValueType::F64,
        }
    }

    /// The elements as numbers; `None` for strings.
    fn numbers<T: FromNumber>(&self) -> Option<Vec<T>> {
        fn convert<N: Copy + Into<Number>, T: FromNumber>(v: &[N]) -> Option<Vec<T>> {
            let mut out = Vec::new();
            out.try_reserve_exact(v.len()).ok()?;
            for &n in v {
                out.push(T::from_number(n.into())?);
            }
            Some(out)
        }
        match self {
            Array::U8(v) => convert(v),
            Array::I8(v) => convert(v),
            Array::U16(v) => convert(v),
            Array::I16(v) => convert(v),
            Array::U32(v) => convert(v),
            Array::I32(v) => convert(v),
            Array::F32(v) => convert(v),
            Array::Bool(v) => convert(v),
            Array::U64(v) => convert(v),
            Array::I64(v) => convert(v),
            Array::F64(v) => convert(v),
            // An empty list has no element of a wrong type.
            Array::String(v) => v.is_empty().then(Vec::new),
        }
    }
}

impl Value {
    /// The type; [`Array::ty`] tells that of an array's elements.
    pub const fn ty(&self) -> ValueType {
        match self {
            Value::U8(_) => ValueType::U8,
            Value::I8(_) => ValueType::I8,
            Value::U16(_) => ValueType::U16,
            Value::I16(_) => ValueType::I16,
            Value::U32(_) => ValueType::U32,
            Value::I32(_) => ValueType::I32,
            Value::F32(_) => ValueType::F32,
            Value::Bool(_) => ValueType::Bool,
            Value::String(_) => ValueType::String,
            Value::Array(_) => ValueType::Array,
            Value::U64(_) => ValueType::U64,
            Value::I64(_) => ValueType::I64,
            Value::F64(_) => ValueType::F64,
        }
    }

    /// The value a caller wrote as JSON: integers become `u64` or `i64`, other numbers `f64`, lists arrays of
    /// the first of `u64`, `i64`, `f64`, `bool`, `string` that holds every element (`[]` is an array of `u64`,
    /// and reads as an empty list of any type).
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`](crate::ErrorKind::WrongType) for `null`, objects, nested and mixed lists.
    pub fn from_json(json: &serde_json::Value) -> Result<Value> {
        use serde_json::Value as Json;
        fn all<'j, T>(list: &'j [Json], f: impl Fn(&'j Json) -> Option<T>) -> Option<Vec<T>> {
            list.iter().map(f).collect()
        }
        let value = match json {
            Json::Bool(b) => Some(Value::Bool(*b)),
            Json::Number(n) => n
                .as_u64()
                .map(Value::U64)
                .or_else(|| n.as_i64().map(Value::I64))
                .or_else(|| n.as_f64().map(Value::F64)),
            Json::String(s) => Some(Value::String(s.clone())),
            Json::Array(list) => all(list, Json::as_u64)
                .map(Array::U64)
                .or_else(|| all(list, Json::as_i64).map(Array::I64))
                .or_else(|| all(list, Json::as_f64).map(Array::F64))
                .or_else(|| all(list, Json::as_bool).map(Array::Bool))
                .or_else(|| Strings::from_strs(all(list, Json::as_str)?).ok().map(Array::String))
                .map(Value::Array),
            Json::Null | Json::Object(_) => None,
        };
        let expected = "a number, true or false, a string, or a list of one of these";
        value.ok_or_else(|| FormatError::wrong_type("metadata value", expected, crate::json::Shown(json)))
    }

    fn number(&self) -> Option<Number> {
        Some(match *self {
            Value::U8(n) => n.into(),
            Value::I8(n) => n.into(),
            Value::U16(n) => n.into(),
            Value::I16(n) => n.into(),
            Value::U32(n) => n.into(),
            Value::I32(n) => n.into(),
            Value::F32(n) => n.into(),
            Value::Bool(n) => n.into(),
            Value::U64(n) => n.into(),
            Value::I64(n) => n.into(),
            Value::F64(n) => n.into(),
            Value::String(_) | Value::Array(_) => return None,
        })
    }
}

/// Short, for messages and listings: `u32 48`, `"llama4"`, `array of 202048 string`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.ty();
        match self {
            Value::String(s) => write!(f, "string {}", crate::error::Quoted(s)),
            Value::Array(a) => write!(f, "array of {} {}", a.len(), a.ty()),
            Value::F32(x) => write!(f, "{t} {x:?}"),
            other => match other.number() {
                Some(Number::Unsigned(n)) => write!(f, "{t} {n}"),
                Some(Number::Signed(n)) => write!(f, "{t} {n}"),
                Some(Number::Float(x)) => write!(f, "{t} {x:?}"),
                Some(Number::Bool(b)) => write!(f, "{t} {b}"),
                None => t.fmt(f),
            },
        }
    }
}

/// A Rust type that a metadata value can be read as.
///
/// Integers convert between widths when the number fits; a float is read from any float or exactly
/// representable integer (an f64 rounds to f32); nothing else converts.
pub trait FromValue<'a>: Sized {
    /// The type, for errors.
    const EXPECTED: &'static str;

    /// The value as this type, or `None` when it is something else.
    fn from_value(value: &'a Value) -> Option<Self>;
}

/// A scalar that a number can become.
pub(super) trait FromNumber: Sized {
    fn from_number(n: Number) -> Option<Self>;
}

/// For each numeric type: `variant of Value and Array, Rust type, variant of Number, its type`.
macro_rules! numbers {
    ($($variant:ident $t:ty, $number:ident $wide:ty;)+) => {$(
        impl From<$t> for Number {
            fn from(n: $t) -> Number {
                Number::$number(<$wide>::from(n))
            }
        }

        impl From<$t> for Value {
            fn from(n: $t) -> Value {
                Value::$variant(n)
            }
        }

        impl From<Vec<$t>> for Value {
            fn from(v: Vec<$t>) -> Value {
                Value::Array(Array::$variant(v))
            }
        }
    )+};
}

numbers! {
    U8 u8, Unsigned u64;
    U16 u16, Unsigned u64;
    U32 u32, Unsigned u64;
    U64 u64, Unsigned u64;
    I8 i8, Signed i64;
    I16 i16, Signed i64;
    I32 i32, Signed i64;
    I64 i64, Signed i64;
    F32 f32, Float f64;
    F64 f64, Float f64;
    Bool bool, Bool bool;
}

impl From<&str> for Value {
    fn from(s: &str) -> Value {
        Value::String(s.into())
    }
}

impl From<String> for Value {
    fn from(s: String) -> Value {
        Value::String(s)
    }
}

impl From<Strings> for Value {
    fn from(v: Strings) -> Value {
        Value::Array(Array::String(v))
    }
}

macro_rules! integers {
    ($($t:ty: $one:literal, $many:literal;)+) => {$(
        impl FromNumber for $t {
            fn from_number(n: Number) -> Option<$t> {
                match n {
                    Number::Unsigned(n) => n.try_into().ok(),
                    Number::Signed(n) => n.try_into().ok(),
                    Number::Float(_) | Number::Bool(_) => None,
                }
            }
        }

        from_number!($t: $one, $many);
    )+};
}

macro_rules! from_number {
    ($t:ty: $one:literal, $many:literal) => {
        impl FromValue<'_> for $t {
            const EXPECTED: &'static str = $one;

            fn from_value(value: &Value) -> Option<$t> {
                value.number().and_then(<$t>::from_number)
            }
        }

        impl FromValue<'_> for Vec<$t> {
            const EXPECTED: &'static str = $many;

            fn from_value(value: &Value) -> Option<Vec<$t>> {
                match value {
                    Value::Array(array) => array.numbers(),
                    _ => None,
                }
            }
        }
    };
}

integers! {
    u16: "an integer of 16 bits, not negative", "an array of integers of 16 bits, none negative";
    u32: "an integer of 32 bits, not negative", "an array of integers of 32 bits, none negative";
    u64: "an integer, not negative", "an array of integers, none negative";
    usize: "an integer that fits this machine's sizes", "an array of integers that fit this machine's sizes";
    i32: "an integer of 32 bits with sign", "an array of integers of 32 bits with sign";
    i64: "an integer of 64 bits with sign", "an array of integers of 64 bits with sign";
}

from_number!(f32: "a number", "an array of numbers");
from_number!(f64: "a number", "an array of numbers");
from_number!(bool: "true or false", "an array of true or false");

impl FromNumber for f64 {
    fn from_number(n: Number) -> Option<f64> {
        // The cast back saturates at the type's maximum, which only an inexact conversion reaches.
        match n {
            Number::Unsigned(n) => (n as f64 as u64 == n && n != u64::MAX).then_some(n as f64),
            Number::Signed(n) => (n as f64 as i64 == n && n != i64::MAX).then_some(n as f64),
            Number::Float(x) => Some(x),
            Number::Bool(_) => None,
        }
    }
}

impl FromNumber for f32 {
    fn from_number(n: Number) -> Option<f32> {
        let wide = f64::from_number(n)?;
        let narrow = wide as f32;
        (matches!(n, Number::Float(_)) || f64::from(narrow) == wide).then_some(narrow)
    }
}

impl FromNumber for bool {
    fn from_number(n: Number) -> Option<bool> {
        match n {
            Number::Bool(b) => Some(b),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a str {
    const EXPECTED: &'static str = "a string";

    fn from_value(value: &'a Value) -> Option<&'a str> {
        match value {
            Value::String(s) => Some(s),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a Strings {
    const EXPECTED: &'static str = "an array of strings";

    fn from_value(value: &'a Value) -> Option<&'a Strings> {
        match value {
            Value::Array(Array::String(strings)) => Some(strings),
            // As for numbers: an empty list has no element of a wrong type.
            Value::Array(array) if array.is_empty() => Some(Strings::EMPTY),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a Array {
    const EXPECTED: &'static str = "an array";

    fn from_value(value: &'a Value) -> Option<&'a Array> {
        match value {
            Value::Array(array) => Some(array),
            _ => None,
        }
    }
}
