//! Flags of every command that loads a model.

use super::values::{key_value, positive};
use clap::{Args, ValueEnum};
use puna::{DeviceKind, Placement};
use std::path::PathBuf;

/// Flags of everything that computes.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Model options")]
pub(crate) struct ModelArgs {
    /// What computes: cpu, reference (scalar, slow and exact), gpu (the system's choice) or gpu:INDEX as `puna devices`
    /// counts [default: cpu].
    #[arg(long, value_name = "NAME")]
    pub(crate) device: Option<DeviceKind>,
    /// Which weights are on the GPU: gpu (all), cpu (none), experts=cpu (routed experts on the processor), layers=N (the
    /// first N layers on the GPU), layers=N,experts=cpu, or auto:SIZE (what fits into so many bytes of its memory, such as
    /// auto:8G) [default: all on --device].
    #[arg(long, value_name = "WHAT")]
    pub(crate) placement: Option<Placement>,
    /// Compute on the processor, with a warning, if the GPU that was asked for cannot be used.
    #[arg(long)]
    pub(crate) cpu_fallback: bool,
    /// Threads that compute; as many as there are CPUs unless given. Results do not depend on it.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) threads: Option<usize>,
    /// The number format of cached keys and values.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) kv: Kv,
    /// auto lets a kernel round activations to int8 or bf16; f32 never does.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) activations: Activations,
    /// The most tokens to hold [default: the model's own, at most 8192; or what the command needs].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) context: Option<usize>,
    /// Tokens of a prompt that go through the model at once.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) batch: Option<usize>,
    /// The best instruction set to use (scalar, avx2, avx512, neon, …) [default: the machine's best].
    #[arg(long, value_name = "NAME")]
    pub(crate) isa: Option<String>,
    /// Read the file into memory instead of mapping it.
    #[arg(long)]
    pub(crate) no_mmap: bool,
    #[command(flatten)]
    pub(crate) files: FileArgs,
}

/// What belongs to the files of a model, for commands that only look too.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Model options")]
pub(crate) struct FileArgs {
    /// The vision tower of a GGUF model, which is a GGUF file of its own.
    #[arg(long, value_name = "FILE")]
    pub(crate) mmproj: Option<PathBuf>,
    /// Replace a metadata key by a value in JSON (repeatable). Besides the file's keys:
    /// llama4.attention.{chunk_size, temperature_tuning, temperature_floor_scale, temperature_scale, qk_norm,
    /// no_rope_layers} (the last a list, 1 = rope; [] = the default pattern).
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) overrides: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Kv {
    /// 16-bit floats.
    #[default]
    F16,
    /// 32-bit floats.
    F32,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Activations {
    /// A kernel may round activations.
    #[default]
    Auto,
    /// Activations stay 32-bit floats.
    F32,
}
