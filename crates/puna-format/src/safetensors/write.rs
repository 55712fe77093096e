//! Writing safetensors: the header at once, then the tensors' bytes as they come.

use super::{METADATA_KEY, StDType};
use crate::error::{ErrorKind, FormatError, Quoted};
use crate::{Named, Result, Sink, Table};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// Collects the header of a file: the tensors that will follow, in order, and string metadata.
#[derive(Clone, Debug, Default)]
pub struct StWriter {
    tensors: Vec<Announced>,
    metadata: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Announced {
    name: String,
    dtype: StDType,
    shape: Vec<u64>,
    n_bytes: u64,
}

impl Named for Announced {
    fn name(&self) -> &str {
        &self.name
    }
}

impl StWriter {
    /// A file with nothing in it.
    pub fn new() -> StWriter {
        StWriter::default()
    }

    /// Sets a pair of `__metadata__`.
    pub fn metadata(&mut self, key: &str, value: &str) -> &mut Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Announces a tensor of this shape, the contiguous dimension last.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`] for a size beyond 64 bits or of no whole bytes; [`ErrorKind::BadValue`] for the
    /// name `__metadata__`.
    pub fn tensor(&mut self, name: &str, shape: &[u64], dtype: StDType) -> Result<&mut Self> {
        let what = format_args!("tensor {}", Quoted(name));
        if name == METADATA_KEY {
            return Err(FormatError::new(
                ErrorKind::BadValue,
                what,
                "another name",
                "the name of the metadata",
            ));
        }
        let n_bytes = dtype.n_bytes(shape).ok_or_else(|| {
            let found = format_args!("{dtype} of shape {shape:?}");
            FormatError::new(ErrorKind::Overflow, what, "a size in whole bytes within 64 bits", found)
        })?;
        self.tensors.push(Announced { name: name.into(), dtype, shape: shape.into(), n_bytes });
        Ok(self)
    }

    /// Writes the header, padded so that the data begins at a multiple of 8, and waits for the tensors' bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Duplicate`] for two tensors of a name, [`ErrorKind::Overflow`], and what the sink says.
    pub fn start<S: Sink>(self, mut sink: S) -> Result<StStream<S>> {
        let tensors = Table::new(self.tensors)?;
        let json = header(&tensors, &self.metadata)?;
        sink.write(&(json.len() as u64).to_le_bytes())?;
        sink.write(json.as_bytes())?;
        let mut stream = StStream { sink, tensors, current: 0, left: 0 };
        stream.next_from(0);
        Ok(stream)
    }
}

fn header(tensors: &[Announced], metadata: &BTreeMap<String, String>) -> Result<String> {
    /// A string as JSON.
    struct Json<'a>(&'a str);
    impl core::fmt::Display for Json<'_> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            serde_json::Value::from(self.0).fmt(f)
        }
    }

    let mut json = String::from("{");
    // Writing to a `String` cannot fail.
    let mut comma = "";
    if !metadata.is_empty() {
        let _ = write!(json, "\"{METADATA_KEY}\":{{");
        for (key, value) in metadata {
            let _ = write!(json, "{comma}{}:{}", Json(key), Json(value));
            comma = ",";
        }
        json.push('}');
    }
    let mut start = 0u64;
    for Announced { name, dtype, shape, n_bytes } in tensors {
        let end = start.checked_add(*n_bytes).ok_or_else(|| {
            let what = format_args!("tensor {}", Quoted(name));
            FormatError::new(ErrorKind::Overflow, what, "an end within 64 bits", "more")
        })?;
        let _ = write!(
            json,
            "{comma}{}:{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}",
            Json(name)
        );
        (comma, start) = (",", end);
    }
    json.push('}');
    while !json.len().is_multiple_of(8) {
        json.push(' ');
    }
    Ok(json)
}

/// A file whose header is written; takes the tensors' bytes.
#[derive(Debug)]
pub struct StStream<S> {
    sink: S,
    tensors: Table<Announced>,
    /// The tensor whose bytes come next, and how many of them.
    current: usize,
    left: u64,
}

impl<S: Sink> StStream<S> {
    /// Writes the next bytes of tensor `name`: all of them, or a part of any size. Tensors of no bytes are
    /// passed over.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] when another tensor's bytes are due, or these are more than announced; then
    /// nothing has been written.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let due = self.tensors.get(self.current).map_or("", |t| t.name.as_str());
        if bytes.is_empty() && self.tensors.named(name).is_some() {
            return Ok(());
        }
        let left = self.left.checked_sub(bytes.len() as u64).filter(|_| due == name);
        let Some(left) = left else {
            let what = format_args!("tensor {}", Quoted(name));
            let expected = format_args!("{} more bytes of {}", self.left, Quoted(due));
            return Err(FormatError::new(ErrorKind::Mismatch, what, expected, bytes.len()));
        };
        self.sink.write(bytes)?;
        self.left = left;
        if left == 0 {
            self.next_from(self.current + 1);
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
            None => Ok(self.sink),
        }
    }

    /// Makes the first tensor with bytes, from this position on, the current one.
    fn next_from(&mut self, at: usize) {
        let rest = self.tensors.get(at..).unwrap_or_default();
        let empty = rest.iter().take_while(|t| t.n_bytes == 0).count();
        self.current = at + empty;
        self.left = rest.get(empty).map_or(0, |t| t.n_bytes);
    }
}
