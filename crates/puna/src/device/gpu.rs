//! GPUs: which there are, and how one is opened.

use super::GpuInfo;
use crate::error::{Error, Lift};
use crate::{Activations, LoadOptions};
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use puna_core::Device;
use puna_gpu::{Compiler, GpuDevice, Options, Tiles, interop};

/// An application's own device, which models are opened on; see [`interop`](crate::interop).
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) adapter: interop::wgpu::Adapter,
    pub(crate) device: interop::wgpu::Device,
    pub(crate) queue: interop::wgpu::Queue,
}

pub(super) fn list() -> Vec<GpuInfo> {
    let info = |a: puna_gpu::AdapterInfo| GpuInfo {
        index: a.index,
        name: a.name,
        backend: a.backend.to_string(),
        driver: a.driver,
        software: a.software,
        max_binding: a.max_binding,
        max_buffer: a.max_buffer,
        max_workgroup: a.max_invocations,
        workgroup_bytes: a.workgroup_bytes,
        subgroup: a.subgroup,
        f16: a.f16,
    };
    puna_gpu::list().into_iter().map(info).collect()
}

pub(super) fn open(
    index: Option<usize>,
    options: &LoadOptions,
) -> Result<(Box<dyn Device>, Compiler), Error> {
    let mut how = Options::new();
    how.adapter = index;
    if options.activations == Some(Activations::F32) {
        how = how.tiles(Tiles::F32);
    }
    let device = match &options.shared {
        Some(Shared { adapter, device, queue }) => {
            interop::from_wgpu(adapter, device.clone(), queue.clone(), &how)
        }
        None => GpuDevice::open(&how),
    };
    let device = device.lift()?;
    let compiler = device.compiler();
    Ok((Box::new(device), compiler))
}
