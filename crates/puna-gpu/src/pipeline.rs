//! Compute pipelines, compiled when a kernel is first used.

use crate::context::Context;
use crate::needs::{self, Need, Ways};
use puna_core::{Cancel, DeviceError};
use puna_shaders::{Access, Kernel, Tier};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Bytes of parameters of a dispatch.
pub(crate) const PARAM_BYTES: u64 = 256;

/// A compiled kernel and the layout of its buffers.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) raw: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

/// The kernels compiled so far.
#[derive(Debug)]
pub(crate) struct Pipelines {
    /// Group 0 of every kernel: its parameters, at a dynamic offset.
    pub(crate) params: wgpu::BindGroupLayout,
    compiled: Mutex<HashMap<Kernel, Arc<Pipeline>>>,
    /// The driver's own cache, if the application brought one.
    pub(crate) cache: OnceLock<wgpu::PipelineCache>,
}

fn entry(binding: u32, ty: wgpu::BufferBindingType, dynamic: bool) -> wgpu::BindGroupLayoutEntry {
    let min_binding_size = if dynamic { wgpu::BufferSize::new(PARAM_BYTES) } else { None };
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: dynamic, min_binding_size },
        count: None,
    }
}

impl Pipelines {
    pub(crate) fn new(device: &wgpu::Device) -> Self {
        let params = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("params"),
            entries: &[entry(0, wgpu::BufferBindingType::Uniform, true)],
        });
        Pipelines { params, compiled: Mutex::default(), cache: OnceLock::new() }
    }

    /// The pipeline of a kernel.
    pub(crate) fn get(&self, ctx: &Context, kernel: Kernel) -> Result<Arc<Pipeline>, DeviceError> {
        if let Some(pipeline) = self.lock().get(&kernel) {
            return Ok(pipeline.clone());
        }
        // Without the lock, so that other threads compile other kernels meanwhile.
        let pipeline = Arc::new(self.compile(ctx, kernel)?);
        Ok(self.lock().entry(kernel).or_insert(pipeline).clone())
    }

    /// Kernels compiled so far.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kernel, Arc<Pipeline>>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compile(&self, ctx: &Context, kernel: Kernel) -> Result<Pipeline, DeviceError> {
        let name = kernel.name();
        let failed = |why: String| DeviceError::Kernel { kernel: name.clone(), why };
        let source = kernel.source().map_err(|e| failed(e.to_string()))?;
        let entries: Vec<_> = (0..)
            .zip(kernel.bindings())
            .map(|(i, access)| {
                let ty = match access {
                    Access::Uniform => wgpu::BufferBindingType::Uniform,
                    _ => wgpu::BufferBindingType::Storage { read_only: *access == Access::Read },
                };
                entry(i, ty, false)
            })
            .collect();
        let threads = ctx.matrix.map_or(0, |matrix| matrix.threads);
        let constants = [(Kernel::THREADS, f64::from(threads))];
        let made = ctx.guarded(0, || {
            let module = ctx.device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(&name),
                source: wgpu::ShaderSource::Wgsl(source.into()),
            });
            let layout = ctx.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(&name),
                entries: &entries,
            });
            let pipeline_layout = ctx.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(&name),
                bind_group_layouts: &[Some(&self.params), Some(&layout)],
                immediate_size: 0,
            });
            let raw = ctx.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&name),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    // Every kernel writes its workgroup memory before it reads it.
                    zero_initialize_workgroup_memory: false,
                    constants: if kernel.cooperative() { &constants } else { &[] },
                },
                cache: self.cache.get(),
            });
            Pipeline { raw, layout }
        });
        made.map_err(|e| match e {
            // The device itself is well: this one kernel was refused.
            DeviceError::Lost(why) if ctx.check().is_ok() => failed(why),
            other => other,
        })
    }
}

/// Compiles a device's kernels ahead of their first use; made by [`GpuDevice::compiler`](crate::GpuDevice::compiler).
#[derive(Clone, Debug)]
pub struct Compiler {
    pub(crate) ctx: Arc<Context>,
    pub(crate) tier: Tier,
}

impl Compiler {
    /// The kernels that these parts of a model need.
    pub fn prepare(&self, needs: &[Need<'_>]) -> Preparation {
        let ways = Ways { tier: self.tier, windows: self.ctx.windows(), tiles: self.ctx.tiles };
        let (ctx, kernels) = (self.ctx.clone(), needs::kernels(ways, needs));
        Preparation { ctx, kernels, next: AtomicUsize::new(0), done: AtomicUsize::new(0) }
    }
}

/// Kernels that are to be compiled; made by [`Compiler::prepare`].
///
/// This crate starts no threads: an application that wants the kernels compiled in parallel calls [`run`](Self::run) from
/// several of its own, which share the work.
#[derive(Debug)]
pub struct Preparation {
    ctx: Arc<Context>,
    kernels: Vec<Kernel>,
    next: AtomicUsize,
    done: AtomicUsize,
}

impl Preparation {
    /// How many kernels there are.
    pub fn total(&self) -> usize {
        self.kernels.len()
    }

    /// Compiles kernels until none is left that no other thread has taken. `progress` hears how many of how many are done.
    /// A cancelled call leaves those that are done and returns no error; the next call goes on.
    ///
    /// # Errors
    /// [`DeviceError::Kernel`] for a kernel that the driver refuses; a lost device.
    pub fn run(&self, progress: &dyn Fn(usize, usize), cancel: &Cancel) -> Result<(), DeviceError> {
        while !cancel.is_cancelled()
            && let Some(&kernel) = self.kernels.get(self.next.fetch_add(1, Ordering::Relaxed))
        {
            self.ctx.pipelines.get(&self.ctx, kernel)?;
            progress(self.done.fetch_add(1, Ordering::Relaxed) + 1, self.kernels.len());
        }
        Ok(())
    }
}
