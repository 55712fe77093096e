//! The header of one safetensors file: its JSON read without intermediate values, then its layout proven.

use super::{METADATA_KEY, StDType};
use crate::error::{ErrorKind, FormatError, Quoted, out_of_memory, reserve_exact};
use crate::json::{self, Trap, duplicate_key};
use crate::{Limits, Named, Result, Source, Table};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// A tensor of a safetensors file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StTensor {
    /// The name, unique in the file.
    pub name: String,
    /// The element type.
    pub dtype: StDType,
    /// The dimensions, the contiguous one last; a dimension may be 0, and a scalar has none.
    pub shape: Vec<u64>,
    /// The absolute byte range in the file.
    pub range: Range<u64>,
}

impl Named for StTensor {
    fn name(&self) -> &str {
        &self.name
    }
}

/// The header of one file, validated: the tensors fill the file exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SafeTensors {
    /// The tensors in the order of their bytes.
    pub tensors: Table<StTensor>,
    /// The pairs of `__metadata__`.
    pub metadata: Vec<(String, String)>,
    /// Where the tensors' bytes begin, from the start of the file.
    pub data_offset: u64,
}

impl SafeTensors {
    /// Reads and validates a header; no other bytes are read.
    ///
    /// # Errors
    /// Everything that a file can have wrong, each with its tensor and byte offset.
    pub fn read<S: Source + ?Sized>(source: &S, limits: &Limits) -> Result<SafeTensors> {
        let (json, data_offset) = header_bytes(source, limits)?;
        let trap = Trap::default();
        let seed = HeaderSeed { trap: &trap, limits };
        let mut header = json::deserialize(&json, 8, "safetensors header", &trap, seed)?;
        drop(json);
        // Bytes are in the order of the tensors' offsets; the header may list them in any other.
        header.tensors.sort_by_key(|t| (t.range.start, t.range.end));
        fill(&mut header.tensors, data_offset, source.len())?;
        Ok(SafeTensors { tensors: Table::new(header.tensors)?, metadata: header.metadata, data_offset })
    }
}

/// The JSON, and the offset after it.
fn header_bytes<S: Source + ?Sized>(source: &S, limits: &Limits) -> Result<(Vec<u8>, u64)> {
    let what = "safetensors header";
    let len = source.len();
    let Some(after) = len.checked_sub(8) else {
        let expected = "at least 8 bytes for the header's length";
        return Err(FormatError::new(ErrorKind::Truncated, what, expected, len).at(0));
    };
    let mut n = [0; 8];
    source.read_at(0, &mut n)?;
    let n = u64::from_le_bytes(n);
    if n > limits.header_bytes {
        return Err(FormatError::limit(what, limits.header_bytes, "bytes", n).at(0));
    }
    if n > after {
        let expected = format_args!("{n} bytes, as announced");
        let found = format_args!("{after} until the end of the file");
        return Err(FormatError::new(ErrorKind::Truncated, what, expected, found).at(8));
    }
    let size =
        usize::try_from(n).map_err(|_| FormatError::limit(what, usize::MAX as u64, "bytes", n).at(0))?;
    let mut json = Vec::new();
    reserve_exact(&mut json, size, what)?;
    json.resize(size, 0);
    source.read_at(8, &mut json)?;
    match json.first() {
        Some(b'{') => Ok((json, 8 + n)),
        first => {
            let found = fmt::from_fn(|f| match first {
                Some(byte) => write!(f, "byte {byte:#04x}"),
                None => f.write_str("no bytes"),
            });
            Err(FormatError::new(ErrorKind::NotThisFormat, what, "'{'", found).at(8))
        }
    }
}

/// Proves that the sorted tensors fill the data exactly, and makes their ranges absolute.
fn fill(tensors: &mut [StTensor], data_offset: u64, file_len: u64) -> Result<()> {
    let data_len = file_len - data_offset;
    let mut end = 0;
    for tensor in tensors {
        let Range { start, end: tensor_end } = tensor.range;
        let error = |kind, expected: &dyn fmt::Display, found: &dyn fmt::Display| {
            let what = format_args!("tensor {}", Quoted(&tensor.name));
            FormatError::new(kind, what, expected, found).at(data_offset)
        };
        if start != end {
            let expected = format_args!("data from byte {end} on, where the one before ends");
            return Err(error(ErrorKind::Overlap, &expected, &format_args!("from byte {start} on")));
        }
        if tensor_end > data_len {
            let expected = format_args!("data within the {data_len} bytes after the header");
            let found = format_args!("bytes {start} to {tensor_end}");
            return Err(error(ErrorKind::OutOfRange, &expected, &found));
        }
        end = tensor_end;
        // Within the file's length, so no overflow.
        tensor.range = data_offset + start..data_offset + tensor_end;
    }
    if end != data_len {
        let expected = format_args!("{end} bytes, the end of the last tensor");
        return Err(FormatError::new(ErrorKind::Overlap, "safetensors data", expected, data_len)
            .at(data_offset.saturating_add(end)));
    }
    Ok(())
}

#[derive(Default)]
struct Header {
    tensors: Vec<StTensor>,
    metadata: Vec<(String, String)>,
}

#[derive(Clone, Copy)]
struct HeaderSeed<'a> {
    trap: &'a Trap,
    limits: &'a Limits,
}

impl HeaderSeed<'_> {
    fn check<E: serde::de::Error>(
        self,
        what: impl fmt::Display,
        limit: u64,
        unit: &str,
        n: usize,
    ) -> Result<(), E> {
        if n as u64 > limit {
            return Err(self.trap.set(FormatError::limit(what, limit, unit, n as u64)));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for HeaderSeed<'_> {
    type Value = Header;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Header, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed<'_> {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        let mut seen_metadata = false;
        while let Some(name) = map.next_key::<String>()? {
            self.check("tensor name", self.limits.name_bytes, "bytes", name.len())?;
            if name == METADATA_KEY {
                if core::mem::replace(&mut seen_metadata, true) {
                    return Err(self.trap.set(duplicate_key(METADATA_KEY)));
                }
                header.metadata = map.next_value_seed(PairsSeed(self))?;
                continue;
            }
            self.check("safetensors header", self.limits.tensors, "tensors", header.tensors.len() + 1)?;
            let memory = |e| self.trap.set(out_of_memory(e, "tensor table", size_of::<StTensor>()));
            header.tensors.try_reserve(1).map_err(memory)?;
            header.tensors.push(map.next_value_seed(TensorSeed { header: self, name })?);
        }
        Ok(header)
    }
}

/// `{"dtype": …, "shape": […], "data_offsets": [begin, end]}`, in any order, nothing else.
struct TensorSeed<'a> {
    header: HeaderSeed<'a>,
    name: String,
}

impl<'de> DeserializeSeed<'de> for TensorSeed<'_> {
    type Value = StTensor;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<StTensor, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl TensorSeed<'_> {
    fn error<E: serde::de::Error>(&self, kind: ErrorKind, expected: &str, found: impl fmt::Display) -> E {
        let what = format_args!("tensor {}", Quoted(&self.name));
        self.header.trap.set(FormatError::new(kind, what, expected, found))
    }
}

impl<'de> Visitor<'de> for TensorSeed<'_> {
    type Value = StTensor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with dtype, shape and data_offsets for tensor {}", Quoted(&self.name))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StTensor, A::Error> {
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        let dims = NumbersSeed { tensor: &self, what: "shape", most: self.header.limits.dims };
        let ends = NumbersSeed { tensor: &self, what: "data_offsets", most: 2 };
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            let again = match key.as_ref() {
                "dtype" => {
                    let name: Cow<'_, str> = map.next_value()?;
                    let known = StDType::from_name(&name)
                        .ok_or_else(|| self.error(ErrorKind::Unsupported, "a known dtype", Quoted(&name)))?;
                    dtype.replace(known).is_some()
                }
                "shape" => shape.replace(map.next_value_seed(dims)?).is_some(),
                "data_offsets" => offsets.replace(map.next_value_seed(ends)?).is_some(),
                other => {
                    let expected = "dtype, shape and data_offsets only";
                    return Err(self.error(ErrorKind::BadValue, expected, Quoted(other)));
                }
            };
            if again {
                return Err(self.error(ErrorKind::Duplicate, "each field once", format_args!("{key} again")));
            }
        }
        let (Some(dtype), Some(shape), Some(offsets)) = (dtype, shape, offsets) else {
            return Err(self.error(ErrorKind::Missing, "dtype, shape and data_offsets", "fewer"));
        };
        let &[start, end] = offsets.as_slice() else {
            let found = format_args!("{} numbers", offsets.len());
            return Err(self.error(ErrorKind::BadValue, "data_offsets of begin and end", found));
        };
        let Some(size) = dtype.n_bytes(&shape) else {
            let found = format_args!("{dtype} of shape {shape:?}");
            return Err(self.error(ErrorKind::Overflow, "a size in whole bytes within 64 bits", found));
        };
        if end.checked_sub(start) != Some(size) {
            let found =
                format_args!("data_offsets {start} to {end} for {size} bytes, {dtype} of shape {shape:?}");
            return Err(self.error(ErrorKind::BadValue, "data_offsets as far apart as the size", found));
        }
        Ok(StTensor { name: self.name, dtype, shape, range: start..end })
    }
}

/// A short list of unsigned integers.
#[derive(Clone, Copy)]
struct NumbersSeed<'a> {
    tensor: &'a TensorSeed<'a>,
    what: &'a str,
    most: u64,
}

impl<'de> DeserializeSeed<'de> for NumbersSeed<'_> {
    type Value = Vec<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u64>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for NumbersSeed<'_> {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unsigned integers as {} of tensor {}", self.what, Quoted(&self.tensor.name))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u64>, A::Error> {
        let mut numbers = Vec::new();
        while let Some(n) = seq.next_element()? {
            let what = format_args!("{} of tensor {}", self.what, Quoted(&self.tensor.name));
            self.tensor.header.check(what, self.most, "numbers", numbers.len() + 1)?;
            numbers.push(n);
        }
        Ok(numbers)
    }
}

/// An object of strings.
struct PairsSeed<'a>(HeaderSeed<'a>);

impl<'de> DeserializeSeed<'de> for PairsSeed<'_> {
    type Value = Vec<(String, String)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PairsSeed<'_> {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of strings as {METADATA_KEY}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let header = self.0;
        let mut keys = alloc::collections::BTreeSet::new();
        let mut pairs = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            header.check(METADATA_KEY, header.limits.keys, "pairs", pairs.len() + 1)?;
            header.check(METADATA_KEY, header.limits.string_bytes, "bytes of a string", value.len())?;
            if !keys.insert(key.clone()) {
                return Err(header.trap.set(duplicate_key(&key)));
            }
            pairs.push((key, value));
        }
        Ok(pairs)
    }
}
