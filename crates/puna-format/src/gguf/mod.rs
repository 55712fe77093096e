//! GGUF, versions 2 and 3, little-endian: reading, joining split files, writing.
//!
//! The layout (ggml's `docs/gguf.md`): magic, version, counts; keys and values; the tensor table; padding to
//! the alignment; the tensors' bytes, whose offsets in the table count from there.

mod metadata;
mod read;
pub mod split;
mod strings;
mod tensors;
mod types;
mod value;
mod write;

#[cfg(test)]
mod tests;

pub use metadata::Metadata;
pub use split::GgufSet;
pub use strings::Strings;
pub use tensors::{Shape, TensorInfo};
pub use types::{OtherType, TensorType};
pub use value::{Array, FromValue, Value, ValueType};
pub use write::{GgufWriter, TensorStream};

use crate::{Limits, Result, Source, Table};

/// The first four bytes of a file.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// The key of the data section's alignment.
pub const ALIGNMENT_KEY: &str = "general.alignment";

/// The alignment of files that do not state one.
pub const DEFAULT_ALIGNMENT: u32 = 32;

/// The header of one GGUF file, validated: every tensor's bytes are inside the file and its own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Gguf {
    /// The format version, 2 or 3.
    pub version: u32,
    /// The data section's alignment in bytes, a power of two.
    pub alignment: u32,
    /// Keys and values.
    pub metadata: Metadata,
    /// The tensors in the order of the file's table.
    pub tensors: Table<TensorInfo>,
    /// Where the data section begins, in bytes from the start of the file.
    pub data_offset: u64,
}

impl Gguf {
    /// Reads and validates a header. Only the header's bytes are read, in growing pieces.
    ///
    /// # Errors
    /// Everything in [`ErrorKind`](crate::ErrorKind) that a file can have wrong, each with its key or tensor
    /// and byte offset.
    pub fn read<S: Source + ?Sized>(source: &S, limits: &Limits) -> Result<Gguf> {
        read::header(&source, limits)
    }

    /// Whether these are the first bytes of a GGUF file of any version.
    pub fn is_gguf(first_bytes: &[u8]) -> bool {
        first_bytes.starts_with(&MAGIC)
    }
}
