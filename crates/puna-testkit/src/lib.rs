//! Test support: small seeded models with what Hugging Face transformers makes of them, tolerances, comparisons; and
//! synthetic files of true dimensions, for benchmarks.
//!
//! ```no_run
//! use puna_testkit::goldens::{Golden, Rounding};
//! use puna_testkit::{Loaded, tolerance};
//!
//! let golden = Golden::load("scout");
//! let mut model = Loaded::gguf(&golden.gguf(Rounding::Q8_0), Box::new(puna_core::RefDevice::new()));
//! model.check(&golden, Rounding::Q8_0); // logits, hidden states and greedy tokens, or a panic that says where
//! ```
//!
//! Everything here but [`synth`] fails by panicking: it is used in tests only, and is not published.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support fails by panicking")]

pub mod compare;
pub mod files;
pub mod goldens;
pub mod loaded;
pub mod seeded;
pub mod synth;
pub mod tolerance;

pub use files::ModelDir;
pub use loaded::{Loaded, last};
