//! Reading a GGUF header: counts, keys and values, then the tensor table.

use super::strings::StringBytes;
use super::{
    ALIGNMENT_KEY, Array, DEFAULT_ALIGNMENT, Gguf, MAGIC, Metadata, Strings, Value, ValueType, tensors,
};
use crate::cursor::{Cursor, not_utf8};
use crate::error::{ErrorKind, FormatError, Quoted, reserve_exact, try_string};
use crate::{Limits, Result, Source};
use alloc::vec::Vec;
use core::fmt::Arguments;

/// The fewest bytes of a key and its value: an empty string, a type, one byte.
const MIN_KEY_BYTES: u64 = 8 + 4 + 1;

/// Elements read from the window at once.
const CHUNK: usize = 1024;

pub(super) fn header(source: &dyn Source, limits: &Limits) -> Result<Gguf> {
    let mut cursor = Cursor::new(source, limits);
    let version = version(&mut cursor)?;

    let at = cursor.offset();
    let n_tensors = cursor.u64(format_args!("tensor count"))?;
    let n_keys = cursor.u64(format_args!("key count"))?;
    for (n, limit, each, what) in [
        (n_tensors, limits.tensors, tensors::MIN_BYTES, "tensor count"),
        (n_keys, limits.keys, MIN_KEY_BYTES, "key count"),
    ] {
        if n > limit {
            return Err(FormatError::limit(what, limit, "entries", n).at(at));
        }
        cursor.demand(n, each, format_args!("{what} of {n}"))?;
    }

    let mut metadata = Metadata::new();
    for i in 0..n_keys {
        key_value(&mut cursor, &mut metadata, i)?;
    }
    let alignment = alignment(&metadata, limits)?;
    let (tensors, data_offset) = tensors::table(&mut cursor, source.len(), n_tensors, alignment)?;
    Ok(Gguf { version, alignment, metadata, tensors, data_offset })
}

/// Magic and version.
fn version(cursor: &mut Cursor<'_>) -> Result<u32> {
    let magic: [u8; 4] = cursor.array(format_args!("magic"))?;
    if magic != MAGIC {
        let found = format_args!("{magic:02x?}");
        return Err(FormatError::new(ErrorKind::NotThisFormat, "magic", "\"GGUF\"", found).at(0));
    }
    let version = cursor.u32(format_args!("version"))?;
    let found = match version {
        2 | 3 => return Ok(version),
        1 => "version 1, a layout used for two weeks of 2023; convert the file anew",
        _ if matches!(version.swap_bytes(), 1..=3) => {
            "a big-endian file; convert it with gguf-convert-endian"
        }
        _ => {
            let error = FormatError::new(ErrorKind::Unsupported, "version", "2 or 3", version);
            return Err(error.at(4));
        }
    };
    Err(FormatError::new(ErrorKind::Unsupported, "version", "2 or 3, little-endian", found).at(4))
}

/// Key number `i` with its value.
fn key_value(cursor: &mut Cursor<'_>, metadata: &mut Metadata, i: u64) -> Result<()> {
    let limits = cursor.limits();
    let at = cursor.offset();
    let what = format_args!("name of key {i}");
    let key = try_string(cursor.str(limits.name_bytes, what)?, what)?;
    if key.is_empty() {
        return Err(FormatError::new(ErrorKind::BadValue, what, "a name", "an empty string").at(at));
    }
    cursor.spend((key.len() + size_of::<Value>()) as u64, what)?;

    let what = format_args!("key {}", Quoted(&key));
    let value = match value_type(cursor, what)? {
        ValueType::U8 => Value::U8(u8::from_le_bytes(cursor.array(what)?)),
        ValueType::I8 => Value::I8(i8::from_le_bytes(cursor.array(what)?)),
        ValueType::U16 => Value::U16(u16::from_le_bytes(cursor.array(what)?)),
        ValueType::I16 => Value::I16(i16::from_le_bytes(cursor.array(what)?)),
        ValueType::U32 => Value::U32(cursor.u32(what)?),
        ValueType::I32 => Value::I32(i32::from_le_bytes(cursor.array(what)?)),
        ValueType::F32 => Value::F32(f32::from_le_bytes(cursor.array(what)?)),
        ValueType::U64 => Value::U64(cursor.u64(what)?),
        ValueType::I64 => Value::I64(i64::from_le_bytes(cursor.array(what)?)),
        ValueType::F64 => Value::F64(f64::from_le_bytes(cursor.array(what)?)),
        ValueType::Bool => {
            let at = cursor.offset();
            match cursor.array(what)? {
                [byte @ 0..=1] => Value::Bool(byte == 1),
                [byte] => return Err(not_boolean(byte, what).at(at)),
            }
        }
        ValueType::String => {
            let s = try_string(cursor.str(limits.string_bytes, what)?, what)?;
            cursor.spend(s.len() as u64, what)?;
            Value::String(s)
        }
        ValueType::Array => Value::Array(array(cursor, what)?),
    };
    metadata.insert_new(key, value, at)
}

fn not_boolean(byte: u8, what: Arguments<'_>) -> FormatError {
    FormatError::new(ErrorKind::BadValue, what, "a boolean, 0 or 1", byte)
}

/// The alignment the keys state.
fn alignment(metadata: &Metadata, limits: &Limits) -> Result<u32> {
    let alignment = metadata.find::<u32>(ALIGNMENT_KEY)?.unwrap_or(DEFAULT_ALIGNMENT);
    let what = format_args!("key {}", Quoted(ALIGNMENT_KEY));
    if !alignment.is_power_of_two() {
        return Err(FormatError::new(ErrorKind::BadValue, what, "a power of two", alignment));
    }
    if u64::from(alignment) > limits.alignment {
        return Err(FormatError::limit(what, limits.alignment, "bytes", alignment.into()));
    }
    Ok(alignment)
}

fn value_type(cursor: &mut Cursor<'_>, what: Arguments<'_>) -> Result<ValueType> {
    let at = cursor.offset();
    let id = cursor.u32(what)?;
    ValueType::from_id(id).ok_or_else(|| {
        let what = format_args!("type of {what}");
        FormatError::new(ErrorKind::BadValue, what, "a value type from 0 to 12", id).at(at)
    })
}

fn array(cursor: &mut Cursor<'_>, what: Arguments<'_>) -> Result<Array> {
    let at = cursor.offset();
    let ty = value_type(cursor, what)?;
    if ty == ValueType::Array {
        let expected = "an array of anything but arrays";
        return Err(FormatError::new(ErrorKind::BadValue, what, expected, "an array of arrays").at(at));
    }
    let n = cursor.u64(what)?;
    cursor.within(n, cursor.limits().array_len, "elements", what)?;
    cursor.demand(n, ty.min_bytes(), what)?;
    let memory = if ty == ValueType::String { size_of::<u32>() as u64 } else { ty.min_bytes() };
    cursor.spend(n.saturating_mul(memory), what)?;
    let n =
        usize::try_from(n).map_err(|_| FormatError::limit(what, usize::MAX as u64, "elements", n).at(at))?;
    Ok(match ty {
        ValueType::U8 => Array::U8(elements(cursor, n, what, u8::from_le_bytes)?),
        ValueType::I8 => Array::I8(elements(cursor, n, what, i8::from_le_bytes)?),
        ValueType::U16 => Array::U16(elements(cursor, n, what, u16::from_le_bytes)?),
        ValueType::I16 => Array::I16(elements(cursor, n, what, i16::from_le_bytes)?),
        ValueType::U32 => Array::U32(elements(cursor, n, what, u32::from_le_bytes)?),
        ValueType::I32 => Array::I32(elements(cursor, n, what, i32::from_le_bytes)?),
        ValueType::F32 => Array::F32(elements(cursor, n, what, f32::from_le_bytes)?),
        ValueType::U64 => Array::U64(elements(cursor, n, what, u64::from_le_bytes)?),
        ValueType::I64 => Array::I64(elements(cursor, n, what, i64::from_le_bytes)?),
        ValueType::F64 => Array::F64(elements(cursor, n, what, f64::from_le_bytes)?),
        ValueType::Bool => {
            let at = cursor.offset();
            let bytes = elements(cursor, n, what, u8::from_le_bytes)?;
            if let Some((i, &byte)) = bytes.iter().enumerate().find(|(_, byte)| **byte > 1) {
                return Err(not_boolean(byte, format_args!("element {i} of {what}")).at(at + i as u64));
            }
            Array::Bool(bytes.into_iter().map(|byte| byte == 1).collect())
        }
        ValueType::String => Array::String(strings(cursor, n, what)?),
        ValueType::Array => return Err(FormatError::new(ErrorKind::BadValue, what, "no array", ty).at(at)),
    })
}

/// `n` elements of `N` bytes each.
fn elements<T, const N: usize>(
    cursor: &mut Cursor<'_>,
    n: usize,
    what: Arguments<'_>,
    from: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>> {
    let mut out = Vec::new();
    reserve_exact(&mut out, n, what)?;
    while out.len() < n {
        let now = (n - out.len()).min(CHUNK);
        let (elements, _) = cursor.bytes(now * N, what)?.as_chunks::<N>();
        out.extend(elements.iter().map(|bytes| from(*bytes)));
    }
    Ok(out)
}

fn strings(cursor: &mut Cursor<'_>, n: usize, what: Arguments<'_>) -> Result<Strings> {
    let limit = cursor.limits().string_bytes;
    let mut strings = StringBytes::with_capacity(n, what)?;
    let first = cursor.offset();
    for i in 0..n {
        let at = cursor.offset();
        let what = format_args!("element {i} of {what}");
        let bytes = cursor.str_bytes(limit, what)?;
        let len = bytes.len() as u64;
        strings.push(bytes).map_err(|e| e.at(at))?;
        cursor.spend(len, what)?;
    }
    // One by one they would take several times as long.
    strings.into_strings().map_err(|bytes| {
        let bad = bytes.iter().enumerate().find_map(|(i, s)| Some((i, s, core::str::from_utf8(s).err()?)));
        let Some((i, s, e)) = bad else {
            return FormatError::new(ErrorKind::Utf8, what, "UTF-8", "other bytes").at(first);
        };
        let before: u64 = bytes.iter().take(i).map(|s| 8 + s.len() as u64).sum();
        let at = first + before + 8 + e.valid_up_to() as u64;
        not_utf8(s, e, format_args!("element {i} of {what}")).at(at)
    })
}
