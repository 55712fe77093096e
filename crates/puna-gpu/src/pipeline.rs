//! Compute pipelines, compiled when a kernel is first used.

use crate::context::Context;
use puna_core::DeviceError;
use puna_shaders::{Access, Kernel};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of parameters of a dispatch.
pub(crate) const PARAM_BYTES: u64 = 256;

/// A compiled kernel and the layout of its storage buffers.
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
        Pipelines { params, compiled: Mutex::default() }
    }

    /// The pipeline of a kernel.
    pub(crate) fn get(&self, ctx: &Context, kernel: Kernel) -> Result<Arc<Pipeline>, DeviceError> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = compiled.get(&kernel) {
            return Ok(pipeline.clone());
        }
        let pipeline = Arc::new(self.compile(ctx, kernel)?);
        compiled.insert(kernel, pipeline.clone());
        Ok(pipeline)
    }

    fn compile(&self, ctx: &Context, kernel: Kernel) -> Result<Pipeline, DeviceError> {
        let name = kernel.name();
        let source = kernel.source().map_err(|e| DeviceError::Lost(e.to_string()))?;
        let entries: Vec<_> = (0..)
            .zip(kernel.bindings())
            .map(|(i, access)| {
                let read_only = *access == Access::Read;
                entry(i, wgpu::BufferBindingType::Storage { read_only }, false)
            })
            .collect();
        ctx.guarded(0, || {
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
                    ..Default::default()
                },
                cache: None,
            });
            Pipeline { raw, layout }
        })
    }
}
