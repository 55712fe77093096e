//! The CPU device: SIMD kernels chosen at run time, a thread pool that sleeps when idle, and [`CpuDevice`].
#![no_std]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")
)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod buffers;
pub mod device;
pub mod isa;
mod kernels;
pub mod matmul;
mod ops;
mod pool;

pub use device::{CpuDevice, CpuOptions, Threads};
#[cfg(feature = "std")]
pub use pool::{TaskPanicked, ThreadPool};
