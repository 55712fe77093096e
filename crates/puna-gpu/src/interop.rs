//! Sharing a wgpu device with an application that has one. Outside the stability promise: it changes with wgpu.

use crate::context::{Context, Options};
use crate::{GpuDevice, OpenError};

pub use wgpu;

/// A device on an application's own wgpu device and queue.
///
/// The application must not replace the device's error handler and lost callback afterwards; puna uses both. The
/// device's limits hold, and [`Options::adapter`] and [`Options::default_limits`] mean nothing here.
///
/// # Errors
/// The driver refuses the first buffers.
pub fn from_wgpu(
    adapter: &wgpu::Adapter,
    device: wgpu::Device,
    queue: wgpu::Queue,
    options: &Options,
) -> Result<GpuDevice, OpenError> {
    GpuDevice::with_context(Context::from_wgpu(adapter, device, queue, options))
}
