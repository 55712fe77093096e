//! The WGSL shaders of the puna runtime, their catalogue, and the small `#import` expander that puts them together.
//!
//! - [`Kernel`] is the closed list of compute shaders: one for each op and step of an op, with the weight format or cache
//!   element type it is built for. [`Kernel::source`] gives near-plain WGSL, [`Kernel::bindings`] what to bind.
//! - [`quant`] names the weight formats. `quant/<format>.wgsl` holds two functions that read a block as it is in the
//!   file: `dequant` expands eight consecutive weights, `unpack` (block formats only) gives 32 as bytes with their scale.
//! - [`expand`](mod@expand) is the preprocessor: `#import` and `#if` on names.
//!
//! Every kernel has one entry point `main`, its parameters as a uniform struct at group 0, binding 0, and its buffers at
//! group 1, bindings 0 and up. All keep WebGPU's default limits: at most 8 storage buffers, 12 uniforms, 256 invocations and
//! 16 KiB of workgroup memory; subgroups are used only by the tiers that say so. Weights are byte-addressed, so that GGUF
//! blocks of any alignment are read in place.
//!
//! Matrix products come in tiers, for drivers that compute on a CPU and for GPUs, with and without subgroups: [`Tier`]. For
//! GPUs, tiles of rows are also multiplied in packed 8-bit integers, in 16-bit floats and by cooperative matrices:
//! [`Kernel::Narrow`].
//! Norms take a workgroup a row; attention shares tiles of keys and values among the queries of a workgroup.
//! [`Tier::Lanes`] has attention of its own, without barriers, for software drivers.
//!
//! ```
//! use puna_shaders::{Job, Kernel, Shape, Tier, quant};
//!
//! let format = quant::by_name("Q4_K").expect("a format with shaders");
//! let (job, shape, tier) = (Job::MatMul, Shape::Row, Tier::Thread);
//! let source = Kernel::Product { format, aligned: true, job, shape, tier }.source()?;
//! assert!(source.contains("fn dequant(block: u32, e: u32) -> Octet"));
//! # Ok::<(), puna_shaders::expand::ExpandError>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests fail by panicking"))]

extern crate alloc;

mod catalogue;
pub mod expand;
mod product;
pub mod quant;
mod sources;

pub use catalogue::{Access, Kernel};
pub use product::{Job, Narrow, Shape, Tier};
