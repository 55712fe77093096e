//! Llama 4 and the dense Llama family over a [`Device`](puna_core::Device): configuration, the layer table, weight
//! binding, the forward pass, key/value caches, sessions and the memory plan.
//!
//! The way from a file to logits, each step a type of this crate:
//!
//! 1. [`Config`] is mapped from GGUF metadata or a Hugging Face `config.json`, and validated once.
//! 2. [`LayerTable`] says what every layer is (RoPE or NoPE, chunked or full, dense or experts); nothing else decides that.
//! 3. [`Llama::load`] binds the tensors of a [`TensorSource`] to matrices on a device.
//! 4. [`SessionState`] owns a fork of that device, the caches and the tokens; [`SessionState::feed`] gives logits.
//! 5. [`Placement`] says which weights live on which of several devices behind one; the forward pass moves rows between.
//! 6. [`Vision`] makes an image into rows that a [`Pass`] puts in the place of `<|patch|>` embeddings.
//!
//! The crate names no CPU or GPU, file, thread, clock or environment variable.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test is a panic")
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod config;
pub mod convert;
pub mod error;
pub mod export;
pub mod forward;
pub mod imatrix;
pub mod kv;
pub mod layers;
pub mod placement;
pub mod plan;
pub mod rope;
pub mod sample;
pub mod scratch;
pub mod session;
pub mod vision;
pub mod weights;

#[cfg(test)]
mod tests;

pub use config::{Architecture, Config};
pub use error::LlamaError;
pub use forward::{Llama, Pass, State, StateOptions, Want};
pub use imatrix::Imatrix;
pub use layers::{LayerKind, LayerTable};
pub use placement::{LayerPlaces, Placement};
pub use plan::{Plan, plan, plan_placed};
pub use session::SessionState;
pub use vision::{Vision, VisionConfig};
pub use weights::{LoadWatch, MemTensors, Tensor, TensorSource};

/// What every fallible function here returns.
pub type Result<T, E = LlamaError> = core::result::Result<T, E>;
