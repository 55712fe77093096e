//! Model files in, validated tables out: GGUF (single and split), safetensors (single and sharded) and JSON
//! configuration files, read under caller-set [`Limits`]; and writers for the first two.
//!
//! Readers take any [`Source`], so a header is parsed from a byte slice, a mapped file, or ranged reads of
//! something far away; weights themselves are never read here, only located: every tensor comes back with
//! its absolute byte range, proven to lie inside the file and to overlap no other. Nothing is allocated for a
//! number that a file claims before that number has been held against the limits and the bytes really there.
//!
//! ```
//! use puna_format::gguf::{Gguf, GgufWriter, Value};
//! use puna_format::{DType, Limits};
//!
//! let mut writer = GgufWriter::new();
//! writer.set("general.architecture", "llama4")?.set("llama4.block_count", 48u32)?;
//! writer.tensor("token_embd.weight", &[4, 2], DType::F32)?;
//! let mut stream = writer.start(Vec::new())?;
//! stream.write("token_embd.weight", &[0; 32])?;
//! let file: Vec<u8> = stream.finish()?;
//!
//! let gguf = Gguf::read(&file[..], &Limits::default())?;
//! assert_eq!(gguf.metadata.need::<&str>("general.architecture")?, "llama4");
//! assert_eq!(gguf.metadata.find::<u64>("llama4.block_count")?, Some(48)); // any width that fits
//! let tensor = gguf.tensors.named("token_embd.weight").ok_or("missing")?;
//! assert_eq!(tensor.shape.to_vec(), [4, 2]); // ne order: the first dimension is the contiguous one
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! What this crate does not do: interpret a configuration (that is `puna-llama`), map files, decode weights.
//!
//! # Threat model
//!
//! Every byte is the attacker's. Lengths and products are computed with checked arithmetic; strings are
//! validated UTF-8; names of other files are plain names that cannot leave their folder; duplicates, overlaps
//! and anything two readers could understand differently are errors. Each error is a [`FormatError`] that says
//! which key or tensor, what was expected, what was found, and at which byte.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test is a panic")
)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod cursor;
mod error;
pub mod gguf;
pub mod json;
mod limits;
pub mod safetensors;
mod sink;
mod source;
mod table;

pub use error::{ErrorKind, FormatError};
pub use limits::Limits;
pub use puna_core::DType;
pub use sink::Sink;
#[cfg(feature = "std")]
pub use sink::WriteSink;
#[cfg(feature = "std")]
pub use source::FileSource;
pub use source::Source;
pub use table::{Named, Placed, Table};

/// What every fallible function here returns.
pub type Result<T, E = FormatError> = core::result::Result<T, E>;
