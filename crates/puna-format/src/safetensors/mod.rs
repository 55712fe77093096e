//! safetensors: reading one file's header, joining sharded models through their index, writing.
//!
//! The layout: u64 header length, that many bytes of JSON, then the tensors' bytes. The JSON maps each name to
//! `{dtype, shape, data_offsets}`, offsets counting from the end of the header; `__metadata__` maps strings to
//! strings. Tensors fill the rest of the file exactly, without gaps.

mod dtype;
mod header;
mod index;
mod write;

#[cfg(test)]
mod tests;

pub use dtype::StDType;
pub use header::{SafeTensors, StTensor};
pub use index::{ShardIndex, ShardSet};
pub use write::{StStream, StWriter};

/// The usual name of a sharded model's index.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// The usual name of a model in one file.
pub const SINGLE_FILE: &str = "model.safetensors";

/// The header entry that is no tensor.
const METADATA_KEY: &str = "__metadata__";
