//! The GPU device of the puna runtime: every op in WGSL, through wgpu, on Vulkan, Metal and DX12.
//!
//! [`GpuDevice`] implements [`puna_core::Device`]. Ops are recorded and submitted in batches of bounded work; nothing
//! is read back but what [`Device::read`](puna_core::Device::read) asks for, in particular not the router's choices.
//! Weights are uploaded as they are in the file and read by kernels in their own format. WebGPU's default limits
//! suffice: a matrix larger than a binding is multiplied in parts. Every failure is a typed error, a lost GPU too.
//!
//! ```no_run
//! use puna_gpu::{GpuDevice, Options};
//! use puna_core::Device;
//!
//! let device = GpuDevice::open(&Options::new())?;
//! assert!(device.info().name.starts_with("gpu "));
//! # Ok::<(), puna_gpu::OpenError>(())
//! ```
//!
//! Kernels are compiled when they are first used, or ahead and in parallel
//! by [`GpuDevice::prepare`]. Where the adapter has
//! timestamps, [`Device::profile`](puna_core::Device::profile) measures each kernel.
//!
//! # What is not there yet
//!
//! - One tier of products for all adapters: one output per thread, f32 activations and sums, no subgroups, f16, packed
//!   integer products or cooperative matrices. It suits software drivers; a real GPU wants coalesced loads.
//! - Gate, up and SwiGLU are three dispatches, and experts of a batch are not sorted: each pick reads its expert's weights.
//! - No cache of compiled kernels between two runs, unless the application brings wgpu's
//!   ([`interop::set_pipeline_cache`]): to make one from bytes is unsafe, and this crate has no unsafe code.
//! - The formats IQ1 to IQ3 and TQ have no shaders and are refused with
//!   [`DeviceError::Unsupported`](puna_core::DeviceError::Unsupported).
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests fail by panicking"))]

mod buffer;
mod context;
mod device;
mod error;
pub mod interop;
mod ops;
mod pipeline;
mod profile;
mod recorder;
mod weights;

pub use context::{AdapterInfo, Options, adapters, list};
pub use device::GpuDevice;
pub use error::OpenError;
pub use pipeline::Preparation;
pub use recorder::Counts;
