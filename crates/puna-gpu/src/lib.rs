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
//! Kernels are compiled when they are first used, or ahead and in parallel, for the weights of a model, by a [`Compiler`]. Where the adapter has
//! timestamps, [`Device::profile`](puna_core::Device::profile) measures each kernel.
//!
//! # Tiers
//!
//! Matrix products come in tiers, see [`Tier`]: which one a device uses is chosen when it is opened, by what the adapter
//! is and offers, and only if small products in it, and what else the tier has kernels of its own for, agree with the scalar
//! reference. [`GpuDevice::tiers`] tells which one
//! it is, and which were tried before and why they are not used; [`Options::tier`] forces one.
//!
//! In the tiers for GPUs, products of three rows or more may be in 16-bit floats, by cooperative matrices of those, or, with
//! weights of a block format, in packed 8-bit integers (WGSL's `dot4I8Packed`; on Vulkan the processor's own instruction where
//! it has one): see [`Tiles`]. [`Options::tiles`] fixes one. By default what passes a self-test is timed by a small product when
//! the device is opened, and used if it takes at most 0.9 times as long as what rounds less; on software drivers all is F32.
//!
//! What that costs was measured with SmolLM2 135M Q4_1 on a software driver (`examples/rounding.rs`, 45 tokens of English, each
//! position compared with F32): 16-bit floats move the distribution of the next token by 9.9e-6 nats in the mean, 5.2e-5 at most,
//! and the choice never; packed integers by 4.6e-3 and 2.9e-2, and the choice at 3 of 45. A router of a mixture that is
//! undecided may choose another expert.
//!
//! # Bytes and limits
//!
//! [`GpuDevice::traffic`] tells for each op what it read and wrote, by the formulas of `traffic.rs`, which tests hold against a
//! walk through the loads and against what is bound. By the same formulas, one token of Llama 4 Scout at a short context
//! reads 9.91 GB of weights in Q4_K_M and 17.16 GB in Q8_0, and the tiers for GPUs move 1.010 and 1.002 times as much in all:
//! weights, activations, keys and values. That bounds the tokens a second: no card decodes more than its bandwidth, as its
//! maker states it, divided by these bytes.
//!
//! | card | memory | GB/s | F32 TFLOP/s | decode Q4_K_M | decode Q8_0 | prefill, 16.1 G multiply-adds a token |
//! |---|---|---|---|---|---|---|
//! | AMD Ryzen AI Max+ 395 | 128 GB | 256 | 14.8 | 25 | 14 | 458 |
//! | Apple M3 Ultra | to 512 GB | 819 | 28.4 | 81 | 47 | 879 |
//! | NVIDIA RTX PRO 6000 | 96 GB | 1792 | 125 | 178 | 104 | 3872 |
//!
//! Bandwidths are those of AMD's product page (256 bits of LPDDR5X-8000), of Apple's technical specifications of the Mac
//! Studio of 2025, and of NVIDIA's data sheet of the RTX PRO 6000 Blackwell Workstation Edition; F32 peaks are published ones
//! too (Apple states none: 80 cores of 128 lanes at 1.39 GHz; AMD's counts no double issue). They are bounds: none of these
//! cards was at hand, and nothing here was measured on one.
//!
//! A token is one submit. In the tiers for GPUs a layer of Scout is 9 dispatches: 10 where values have another format than
//! queries and keys, and one more from 97 keys on, which are attended to in parts. With an embedding, a last norm, the head and
//! the choice that makes 436 to 532 for 48 layers.
//!
//! # What is not there yet
//!
//! - Cooperative matrices on devices that puna opens itself: wgpu's feature for them is experimental, to turn it on is unsafe,
//!   and this crate has no unsafe code. An application that turns it on hands in its device ([`interop::from_wgpu`]); see there.
//! - Rows that several products read are rounded for each of them again, and to bytes outliers with the rest, where the
//!   processor's kernels keep what they lose. Attention and products of one or two rows are in F32 alone.
//! - Matrices stored `[n_in, n_out]` and experts with factors of their outputs are multiplied one output a thread, pick
//!   by pick.
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
mod needs;
mod ops;
mod pipeline;
mod profile;
mod recorder;
mod tier;
mod tiles;
mod traffic;
mod weights;

pub use context::{AdapterInfo, Options, adapters, list};
pub use device::GpuDevice;
pub use error::OpenError;
pub use needs::Need;
pub use pipeline::{Compiler, Preparation};
pub use puna_shaders::Tier;
pub use recorder::Counts;
pub use tier::TierReport;
pub use tiles::Tiles;
pub use traffic::Traffic;
