//! Sharing a wgpu device with an application that has one. Outside the stability promise: it changes with wgpu.

use crate::context::{Context, Options};
use crate::{GpuDevice, OpenError};

pub use wgpu;

/// A device on an application's own wgpu device and queue.
///
/// The application must not replace the device's error handler and lost callback afterwards; puna uses both. The
/// device's limits hold, and [`Options::adapter`] and [`Options::default_limits`] mean nothing here.
///
/// Products of many rows may be by cooperative matrices ([`Tiles::Matrix`](crate::Tiles::Matrix)) if the application opened the
/// device with `EXPERIMENTAL_COOPERATIVE_MATRIX`, `SHADER_F16` and `SUBGROUP`, and the adapter multiplies matrices of 16-bit floats of
/// 8 x 8 or 16 x 16 with sums in F32. The first feature is wgpu's to change, and the application's to trust: turning it on
/// is unsafe.
///
/// # Errors
/// The driver refuses the first buffers.
pub fn from_wgpu(
    adapter: &wgpu::Adapter,
    device: wgpu::Device,
    queue: wgpu::Queue,
    options: &Options,
) -> Result<GpuDevice, OpenError> {
    GpuDevice::with_context(Context::from_wgpu(adapter, device, queue, options), options)
}

/// The wgpu device and queue that a device works on: for work of the application's own beside it.
pub fn wgpu_device(device: &GpuDevice) -> (&wgpu::Device, &wgpu::Queue) {
    device.wgpu()
}

/// Lets the driver keep compiled kernels in a cache of the application's, which can take its bytes
/// ([`wgpu::PipelineCache::get_data`]) to the next start. Serves kernels that are compiled afterwards; a device has one
/// cache, and the first stays. Returns whether it was taken.
///
/// To make a cache from bytes is unsafe in wgpu, because drivers trust them. The application does it, which knows where it
/// kept them; puna reads no file and never makes one. Bytes of another driver or adapter are refused by wgpu.
pub fn set_pipeline_cache(device: &GpuDevice, cache: wgpu::PipelineCache) -> bool {
    device.set_cache(cache)
}
