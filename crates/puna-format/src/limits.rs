//! What a caller is willing to spend on a file's header.

/// Upper bounds on what a header may make a reader read, keep or loop over.
///
/// Every number is held against its limit before anything is allocated for it. The defaults admit every
/// published Llama 4 file with much room (its GGUF header is about 15 MB: 202,048 tokens, 440,000 merges).
///
/// ```
/// let mut limits = puna_format::Limits::default();
/// limits.header_bytes = 1 << 20;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a header: all of a GGUF file before its data section, or a safetensors header's JSON. Default 100,000,000
    /// (the safetensors format's own bound).
    pub header_bytes: u64,
    /// Bytes of memory that the keys and values of one GGUF file may occupy. Default 128 MiB.
    pub metadata_bytes: u64,
    /// Key-value pairs in a GGUF file, and in a safetensors `__metadata__`. Default 65,536.
    pub keys: u64,
    /// Tensors in one file, and in all shards of a model together. Default 262,144.
    pub tensors: u64,
    /// Bytes of a metadata key or a tensor name. Default 512 (GGUF's own rule for names is fewer than 64).
    pub name_bytes: u64,
    /// Bytes of one string value. Default 1 MiB (chat templates are the longest).
    pub string_bytes: u64,
    /// Elements of one metadata array. Default 4,194,304.
    pub array_len: u64,
    /// Dimensions of a tensor. Default 8; GGUF itself allows at most 4.
    pub dims: u64,
    /// The largest `general.alignment`. Default 1 MiB.
    pub alignment: u64,
    /// Files of one model. Default 1,024.
    pub shards: u64,
    /// Bytes of a JSON file (`config.json`, `model.safetensors.index.json`). Default 32 MiB.
    pub json_bytes: u64,
    /// Values in a JSON file, counting every object, array and scalar. Default 262,144
    /// (an index takes one per tensor).
    pub json_values: u64,
    /// Nesting depth of a JSON file. Default 64; more than 127 has no effect.
    pub json_depth: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            header_bytes: 100_000_000,
            metadata_bytes: 128 << 20,
            keys: 1 << 16,
            tensors: 1 << 18,
            name_bytes: 512,
            string_bytes: 1 << 20,
            array_len: 1 << 22,
            dims: 8,
            alignment: 1 << 20,
            shards: 1024,
            json_bytes: 32 << 20,
            json_values: 1 << 18,
            json_depth: 64,
        }
    }
}
