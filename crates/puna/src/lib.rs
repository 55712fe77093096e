//! puna lets a Rust program carry a Llama 4 model inside it: load a file, get tokens, on any CPU and any GPU that Vulkan,
//! Metal or DX12 reaches, without a C++ toolchain, a server process or a global.
//!
//! ```no_run
//! use puna::{LoadOptions, Message, Model, Sampling, SessionOptions};
//!
//! let model = Model::open("scout-q4_k_m.gguf", &LoadOptions::default())?;
//! let mut chat = model.session(&SessionOptions::default())?;
//! chat.push(&[Message::system("Be brief."), Message::user("Why is the sky blue?")])?;
//! let mut answer = chat.generate(&Sampling::default().temperature(0.6).top_p(0.9));
//! while let Some(token) = answer.next() {
//!     print!("{}", token?.text());
//! }
//! # Ok::<(), puna::Error>(())
//! ```
//!
//! # What there is
//!
//! | type | what it is |
//! |---|---|
//! | [`Model`] | an open file: weights, tokenizer, prompt format. `Clone + Send + Sync`; holds no state |
//! | [`Session`] | a conversation: its tokens and caches. `Send`; can be truncated and forked |
//! | [`Generation`] | an answer as it comes: an iterator of [`Token`]s, or [`poll_token`](Generation::poll_token) for tasks |
//! | [`Sampling`] | how tokens are chosen; greedy by default, deterministic always |
//! | [`Image`] | pixels that a message shows a model with a vision tower |
//! | [`Cancel`] | stops a load, a prompt or an answer from another thread |
//! | [`Error`] | one line that says what, where, expected and found; one pointer wide |
//!
//! Models are GGUF files (any shard of a split one) of the families `llama4` (Scout, Maverick and their relatives) and
//! `llama` (dense Llama 2 and 3, SmolLM2), or Hugging Face folders of them.
//!
//! # What it promises
//!
//! - It never aborts, exits, prints, reads the environment, or keeps a global. Whatever is wrong with a file, a prompt or
//!   an allocation is an [`Error`], and what existed before stays usable.
//! - It uses the threads it is given ([`LoadOptions::threads`]), which sleep when there is nothing to do.
//! - Results do not depend on the number of threads, and one seed gives one text.
//! - Weights are mapped and never copied; decoding allocates nothing but the growth of the caches.
//!
//! # Images
//!
//! A Llama 4 with its vision tower sees: a multimodal Hugging Face folder has it inside, a GGUF model keeps it in a
//! second file ([`LoadOptions::mmproj`]; in memory, [`LoadOptions::mmproj_bytes`]). Images go where they stand in a message.
//!
//! ```no_run
//! # use puna::{Image, LoadOptions, Message, Model, Sampling, SessionOptions};
//! let options = LoadOptions::default().mmproj("mmproj-scout.gguf");
//! let model = Model::open("scout-q4_k_m.gguf", &options)?;
//! let mut chat = model.session(&SessionOptions::default())?;
//! # #[cfg(feature = "image")]
//! chat.push(&[Message::user("What is this? ").with(Image::open("photo.jpg")?)])?;
//! println!("{}", chat.generate(&Sampling::default()).text()?);
//! # Ok::<(), puna::Error>(())
//! ```
//!
//! # Progress and cancelling
//!
//! Loading and prompts report progress; loading, prompts and answers can be stopped, and a stopped session goes on.
//!
//! ```
//! # let bytes = puna::tiny::gguf(7)?;
//! use puna::{Cancel, ErrorKind, LoadOptions, Model};
//!
//! let cancel = Cancel::new();
//! let options = LoadOptions::default().cancel(cancel.clone()).on_progress(move |progress| {
//!     // … draw a bar; and somebody presses the button in the middle of it:
//!     if progress.done >= progress.total / 2 {
//!         cancel.cancel();
//!     }
//! });
//! assert_eq!(Model::from_bytes(bytes, &options).unwrap_err().kind(), ErrorKind::Cancelled);
//! # Ok::<(), puna::Error>(())
//! ```
//!
//! # GPUs
//!
//! With the feature `gpu`, [`LoadOptions::device`] chooses a GPU of [`gpus`]. A GPU that is missing, too weak, refused or
//! lost is an [`Error`] of its own [`ErrorKind`]; the processor takes over at opening only where
//! [`LoadOptions::cpu_fallback`] allows it, and [`ModelInfo::fallback`](ModelInfo#structfield.fallback) says so.
//!
//! ```no_run
//! use puna::{DeviceKind, LoadOptions, Model};
//!
//! let options = LoadOptions::default().device(DeviceKind::Gpu(None)).cpu_fallback(true);
//! let model = Model::open("scout-q4_k_m.gguf", &options)?;
//! println!("runs on {}", model.info().device);
//! # Ok::<(), puna::Error>(())
//! ```
//!
//! A model that is larger than the GPU's memory is split by [`LoadOptions::placement`]: routed experts on the processor,
//! or the first layers on the GPU, or whatever fits into so many bytes.
//!
//! # Features
//!
//! | feature | what it adds | needs |
//! |---|---|---|
//! | `std` (default) | [`Model::open`], memory maps, threads, choice of kernels at run time | |
//! | `tokenizer` (default) | text in and out; without it, token ids | `std` |
//! | `template` (default) | the chat template inside a model's file | `tokenizer` |
//! | `image` | [`Image::open`], [`Image::decode`]: PNG, JPEG, WebP, GIF and BMP files | `std` |
//! | `gpu` | [`DeviceKind::Gpu`]: models on a GPU through Vulkan, Metal or DX12; `puna::interop` | `std` |
//!
//! Features change what is available or how fast, never a result. Without any, the crate is `no_std` with `alloc`, and
//! [`Model::from_bytes`] opens a model.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")
)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(all(feature = "std", unix))]
mod ahead;
#[cfg(feature = "tokenizer")]
mod chat;
#[cfg(feature = "image")]
mod decode;
mod device;
mod error;
mod generation;
mod images;
#[cfg(feature = "std")]
mod imatrix;
mod info;
#[cfg(feature = "gpu")]
pub mod interop;
#[cfg(feature = "image")]
mod jpeg;
mod load;
#[cfg(feature = "std")]
#[expect(unsafe_code, reason = "mapping a file is a promise about it that only the caller can keep")]
mod map;
mod measure;
mod model;
mod options;
mod package;
mod picture;
mod placement;
mod plan;
mod progress;
#[cfg(feature = "std")]
mod quantize;
mod session;
#[doc(hidden)]
pub mod tiny;
mod token;
mod turns;
mod vision;

#[cfg(feature = "image")]
pub use decode::ImageLimits;
pub use device::{DeviceKind, GpuInfo, gpus, instruction_sets};
pub use error::{Error, ErrorKind};
pub use generation::{Finish, Generation, Stats};
#[cfg(feature = "std")]
pub use imatrix::Imatrix;
#[cfg(feature = "tokenizer")]
pub use imatrix::ImatrixOptions;
pub use info::{ModelInfo, OpTime, VisionInfo};
#[cfg(feature = "std")]
pub use map::FileAccess;
pub use model::{Model, ModelBytes};
pub use options::{Activations, KvType, Limits, LoadOptions, PromptFormat, SessionOptions};
pub use package::FormatUse;
pub use picture::Image;
pub use placement::Placement;
pub use plan::{MemoryPlan, Share};
pub use progress::{Phase, Progress};
pub use puna_core::Cancel;
pub use puna_llama::sample::{Dry, Sampling};
pub use puna_text::Json;
pub use puna_text::chat::{ImageLayout, Message, Part, Role, StopReason, ToolCall, parse_tool_calls};
#[cfg(feature = "std")]
pub use quantize::{QuantizeOptions, Quantized, quantize};
pub use session::Session;
pub use token::Token;

/// For the `puna` command: no part of the stable interface.
#[doc(hidden)]
pub mod internal {
    #[cfg(feature = "tokenizer")]
    pub use crate::package::tokenizer;
    #[cfg(feature = "std")]
    pub use crate::package::vision_config;
    pub use crate::package::{Listed, Package, formats, list_gguf};
}

const _: () = {
    const fn send<T: Send>() {}
    const fn send_sync<T: Send + Sync>() {}
    send_sync::<Model>();
    send_sync::<Error>();
    send_sync::<Cancel>();
    send_sync::<LoadOptions>();
    send_sync::<SessionOptions>();
    send_sync::<Sampling>();
    send_sync::<Token>();
    send::<Session>();
    send::<Generation<'static>>();
    assert!(size_of::<Error>() == size_of::<usize>(), "an error is one pointer wide");
    assert!(size_of::<Option<Error>>() == size_of::<usize>(), "and so is an optional one");
};
