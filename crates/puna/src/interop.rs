//! Models on a GPU that the application uses too: a game, an editor, a renderer.
//!
//! **Outside the stability promise.** This module names types of wgpu, so it changes whenever wgpu does, in any release
//! of puna. Everything else in the crate keeps its promise whether this module is used or not.
//!
//! ```
//! use puna::interop::{self, wgpu};
//!
//! /// Opens a model on the application's own device.
//! fn open(
//!     adapter: &wgpu::Adapter,
//!     device: &wgpu::Device,
//!     queue: &wgpu::Queue,
//! ) -> Result<puna::Model, puna::Error> {
//!     let options = interop::on(puna::LoadOptions::default(), adapter, device, queue);
//!     puna::Model::open("scout-q4_k_m.gguf", &options)
//! }
//! ```

use crate::device::Shared;
use crate::{DeviceKind, LoadOptions};

pub use puna_gpu::interop::wgpu;

/// Options that open a model on the application's device and queue.
///
/// puna submits work of its own to the queue, bounded so that a frame is not held up for long, and waits only where it
/// reads. It installs the device's error handler and lost callback; the application must not replace them while a model
/// is open. The device's limits hold: larger bindings and buffers than WebGPU's defaults are used where it was opened with
/// them.
#[must_use]
pub fn on(
    mut options: LoadOptions,
    adapter: &wgpu::Adapter,
    device: &wgpu::Device,
    queue: &wgpu::Queue,
) -> LoadOptions {
    let (adapter, device, queue) = (adapter.clone(), device.clone(), queue.clone());
    options.shared = Some(Shared { adapter, device, queue });
    options.device(DeviceKind::Gpu(None))
}
