//! Writing GGUF version 3: the header at once, then the tensors' bytes as they come.

use super::tensors::n_bytes;
use super::{ALIGNMENT_KEY, Array, DEFAULT_ALIGNMENT, MAGIC, Metadata, Shape, TensorType, Value};
use crate::error::{ErrorKind, FormatError, Quoted};
use crate::sink::write_zeros;
use crate::{Named, Result, Sink, Table};
use alloc::string::String;
use alloc::vec::Vec;

/// The most bytes of a tensor name that GGUF readers accept.
const MAX_NAME: usize = 63;

/// Collects the header of a file: keys and values in order, and the tensors that will follow.
#[derive(Clone, Debug, Default)]
pub struct GgufWriter {
    metadata: Metadata,
    tensors: Vec<Announced>,
}

#[derive(Clone, Debug)]
struct Announced {
    name: String,
    shape: Shape,
    type_id: u32,
    n_bytes: u64,
}

impl Named for Announced {
    fn name(&self) -> &str {
        &self.name
    }
}

impl GgufWriter {
    /// A file with nothing in it.
    pub fn new() -> GgufWriter {
        GgufWriter::default()
    }

    /// A file with these keys, for instance those of another file.
    pub fn with_metadata(metadata: Metadata) -> GgufWriter {
        GgufWriter { metadata, tensors: Vec::new() }
    }

    /// Sets a key; `general.alignment` sets the file's alignment.
    ///
    /// # Errors
    /// [`ErrorKind::BadValue`] for an empty key.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> Result<&mut Self> {
        if key.is_empty() {
            return Err(FormatError::new(ErrorKind::BadValue, "key", "a name", "an empty string"));
        }
        self.metadata.set(key, value);
        Ok(self)
    }

    /// The keys so far.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Announces a tensor of this shape (ne order, the contiguous dimension first); its bytes are written later,
    /// in the order of announcement.
    ///
    /// # Errors
    /// [`ErrorKind::BadValue`] for a shape or name GGUF cannot have, or a type without a GGUF id;
    /// [`ErrorKind::Overflow`].
    pub fn tensor(&mut self, name: &str, ne: &[u64], dtype: impl Into<TensorType>) -> Result<&mut Self> {
        let dtype = dtype.into();
        let what = format_args!("tensor {}", Quoted(name));
        let bad = |expected: &str, found: &dyn core::fmt::Display| {
            FormatError::new(ErrorKind::BadValue, what, expected, found)
        };
        if !(1..=MAX_NAME).contains(&name.len()) {
            return Err(bad("a name of 1 to 63 bytes", &format_args!("{} bytes", name.len())));
        }
        let shape = Shape::new(ne).ok_or_else(|| bad("at most 4 dimensions", &ne.len()))?;
        let type_id = dtype.gguf_id().ok_or_else(|| bad("a type that GGUF has", &dtype))?;
        let n_bytes = n_bytes(ne, dtype, what)?;
        self.tensors.push(Announced { name: name.into(), shape, type_id, n_bytes });
        Ok(self)
    }

    /// Writes the header and waits for the tensors' bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Duplicate`] for two tensors of a name, [`ErrorKind::BadValue`] for an alignment that is no
    /// power of two, [`ErrorKind::Overflow`], and what the sink says.
    pub fn start<S: Sink>(self, sink: S) -> Result<TensorStream<S>> {
        let alignment = self.metadata.find::<u32>(ALIGNMENT_KEY)?.unwrap_or(DEFAULT_ALIGNMENT);
        if !alignment.is_power_of_two() {
            let what = format_args!("key \"{ALIGNMENT_KEY}\"");
            return Err(FormatError::new(ErrorKind::BadValue, what, "a power of two", alignment));
        }
        let tensors = Table::new(self.tensors)?;

        let mut out = Out { sink, written: 0 };
        out.put(&MAGIC)?;
        out.put(&3u32.to_le_bytes())?;
        out.put(&(tensors.len() as u64).to_le_bytes())?;
        out.put(&(self.metadata.len() as u64).to_le_bytes())?;
        for (key, value) in self.metadata.iter() {
            out.str(key)?;
            out.value(value)?;
        }
        out.tensor_table(&tensors, alignment.into())?;
        out.pad(alignment.into())?;
        let left = tensors.first().map_or(0, |t| t.n_bytes);
        Ok(TensorStream { out, alignment: alignment.into(), tensors, current: 0, left })
    }
}

/// A file whose header is written; takes the tensors' bytes.
#[derive(Debug)]
pub struct TensorStream<S> {
    out: Out<S>,
    alignment: u64,
    tensors: Table<Announced>,
    /// The tensor whose bytes come next, and how many of them.
    current: usize,
    left: u64,
}

impl<S: Sink> TensorStream<S> {
    /// Writes the next bytes of tensor `name`: all of them, or a part of any size.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] when another tensor's bytes are due, or these are more than announced; then
    /// nothing has been written.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let mismatch = |expected: &dyn core::fmt::Display, found: &dyn core::fmt::Display| {
            FormatError::new(ErrorKind::Mismatch, format_args!("tensor {}", Quoted(name)), expected, found)
        };
        let due = self.tensors.get(self.current).map(|t| t.name.as_str());
        if due != Some(name) {
            let expected = match due {
                Some(due) => Quoted(due),
                None => return Err(mismatch(&"the end of the file", &"a further tensor")),
            };
            return Err(mismatch(&format_args!("the bytes of {expected}"), &"this tensor's"));
        }
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return Err(mismatch(&format_args!("{} more bytes", self.left), &bytes.len()));
        };
        self.out.put(bytes)?;
        self.left = left;
        if left == 0 {
            self.out.pad(self.alignment)?;
            self.current += 1;
            self.left = self.tensors.get(self.current).map_or(0, |t| t.n_bytes);
        }
        Ok(())
    }

    /// Ends the file and gives the sink back.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] when bytes of a tensor are missing.
    pub fn finish(self) -> Result<S> {
        match self.tensors.get(self.current) {
            Some(due) => {
                let what = format_args!("tensor {}", Quoted(&due.name));
                let (expected, found) = (format_args!("{} more bytes", self.left), "the end of writing");
                Err(FormatError::new(ErrorKind::Mismatch, what, expected, found))
            }
            None => Ok(self.out.sink),
        }
    }
}

/// A sink that counts, and knows how GGUF writes things.
#[derive(Debug)]
struct Out<S> {
    sink: S,
    written: u64,
}

impl<S: Sink> Out<S> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.write(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self, alignment: u64) -> Result<()> {
        let zeros = self.written.next_multiple_of(alignment) - self.written;
        self.written += zeros;
        write_zeros(&mut self.sink, zeros)
    }

    fn str(&mut self, s: &str) -> Result<()> {
        self.put(&(s.len() as u64).to_le_bytes())?;
        self.put(s.as_bytes())
    }

    fn tensor_table(&mut self, tensors: &[Announced], alignment: u64) -> Result<()> {
        let mut offset = 0u64;
        for Announced { name, shape, type_id, n_bytes } in tensors {
            self.str(name)?;
            self.put(&(shape.len() as u32).to_le_bytes())?;
            for dim in shape.iter() {
                self.put(&dim.to_le_bytes())?;
            }
            self.put(&type_id.to_le_bytes())?;
            self.put(&offset.to_le_bytes())?;
            offset = offset
                .checked_add(*n_bytes)
                .and_then(|end| end.checked_next_multiple_of(alignment))
                .ok_or_else(|| {
                    let what = format_args!("tensor {}", Quoted(name));
                    FormatError::new(ErrorKind::Overflow, what, "an end within 64 bits", "more")
                })?;
        }
        Ok(())
    }

    fn value(&mut self, value: &Value) -> Result<()> {
        self.put(&(value.ty() as u32).to_le_bytes())?;
        match value {
            Value::U8(n) => self.put(&n.to_le_bytes()),
            Value::I8(n) => self.put(&n.to_le_bytes()),
            Value::U16(n) => self.put(&n.to_le_bytes()),
            Value::I16(n) => self.put(&n.to_le_bytes()),
            Value::U32(n) => self.put(&n.to_le_bytes()),
            Value::I32(n) => self.put(&n.to_le_bytes()),
            Value::F32(n) => self.put(&n.to_le_bytes()),
            Value::Bool(b) => self.put(&[u8::from(*b)]),
            Value::String(s) => self.str(s),
            Value::U64(n) => self.put(&n.to_le_bytes()),
            Value::I64(n) => self.put(&n.to_le_bytes()),
            Value::F64(n) => self.put(&n.to_le_bytes()),
            Value::Array(array) => self.array(array),
        }
    }

    fn array(&mut self, array: &Array) -> Result<()> {
        self.put(&(array.ty() as u32).to_le_bytes())?;
        self.put(&(array.len() as u64).to_le_bytes())?;
        macro_rules! each {
            ($v:expr) => {
                $v.iter().try_for_each(|n| self.put(&n.to_le_bytes()))
            };
        }
        match array {
            Array::U8(v) => self.put(v),
            Array::I8(v) => each!(v),
            Array::U16(v) => each!(v),
            Array::I16(v) => each!(v),
            Array::U32(v) => each!(v),
            Array::I32(v) => each!(v),
            Array::F32(v) => each!(v),
            Array::Bool(v) => v.iter().try_for_each(|&b| self.put(&[u8::from(b)])),
            Array::String(v) => v.iter().try_for_each(|s| self.str(s)),
            Array::U64(v) => each!(v),
            Array::I64(v) => each!(v),
            Array::F64(v) => each!(v),
        }
    }
}
