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
    /// Which of its weights are on the device and which on the processor, where they are on both;
    /// see [`LoadOptions::placement`](crate::LoadOptions#structfield.placement).
    pub placement: Option<String>,
    /// Why the processor computes in place of the GPU that was asked for, if it does;
    /// see [`LoadOptions::cpu_fallback`](crate::LoadOptions#structfield.cpu_fallback).
    pub fallback: Option<String>,
    /// For each weight format that the model uses, the kernel that multiplies it.
    pub kernels: Vec<(String, String)>,
    /// How much is stored in each format, the largest first.
    pub formats: Vec<FormatUse>,
    /// Bytes of all tensors.
    pub weight_bytes: u64,
    /// The vision tower; `None` for a model that takes no images.
    pub vision: Option<VisionInfo>,
    /// Whether the model can read and write text; without, it takes and gives token ids.
    pub has_tokenizer: bool,
    /// Whether its file has a chat template.
    pub has_template: bool,
}

/// How long a kernel took for an operation, added up; see [`Session::profile`](crate::Session::profile).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpTime {
    /// The operation.
    pub op: String,
    /// The kernel that computed it.
    pub kernel: String,
    /// How often it ran.
    pub runs: u64,
    /// The time of all runs.
    pub time: core::time::Duration,
}

impl OpTime {
    pub(crate) fn new(time: puna_core::OpTime) -> Self {
        let puna_core::OpTime { op, kernel, runs, nanoseconds } = time;
        OpTime { op: op.into(), kernel, runs, time: core::time::Duration::from_nanos(nanoseconds) }
    }
}

/// Facts about a vision tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VisionInfo {
    /// Layers.
    pub layers: usize,
    /// Width.
    pub hidden: usize,
    /// Heads.
    pub heads: usize,
    /// Pixels along a side of a tile.
    pub tile: usize,
    /// Pixels along a side of a patch.
    pub patch: usize,
    /// Width of the features after the adapter.
    pub adapter: usize,
    /// Tokens of one tile in a prompt.
    pub tile_tokens: usize,
    /// Most tiles of an image, without the one that shows it whole.
    pub max_tiles: usize,
}

impl VisionInfo {
    /// From the configuration of a loaded tower: its tensors have said what the file's keys may not.
    pub(crate) fn new(config: &puna_llama::VisionConfig) -> Self {
        VisionInfo {
            layers: config.n_layers,
            hidden: config.hidden,
            heads: config.n_heads,
            tile: config.image_size,
            patch: config.patch_size,
            adapter: config.adapter_out.unwrap_or(0),
            tile_tokens: config.tile_features(),
            max_tiles: config.max_tiles,
        }
    }
}
