//! What a model is and how it runs here, for reports.

use crate::package::FormatUse;
use alloc::string::String;
use alloc::vec::Vec;

/// Facts about an open model.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The model's name, if its file says one.
    pub name: Option<String>,
    /// The family, as GGUF names it: `llama4` or `llama`.
    pub architecture: String,
    /// Layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// Logits, and one more than the highest token id.
    pub vocab: usize,
    /// Tokens that the model was made to hold.
    pub context: usize,
    /// Routed experts of a mixture layer; 0 for a dense model.
    pub experts: usize,
    /// Positions of an attention chunk, if layers have chunks.
    pub chunk: Option<usize>,
    /// What computes, as the device names itself.
    pub device: String,
    /// For each weight format that the model uses, the kernel that multiplies it.
    pub kernels: Vec<(String, String)>,
    /// How much is stored in each format, the largest first.
    pub formats: Vec<FormatUse>,
    /// Bytes of all tensors.
    pub weight_bytes: u64,
    /// Whether the model can read and write text; without, it takes and gives token ids.
    pub has_tokenizer: bool,
    /// Whether its file has a chat template.
    pub has_template: bool,
}
