//! A program that computes on a GPU of its own while a model on the same device answers: waves on a pond, a step a
//! frame, as a game or a simulation has them.
#![allow(clippy::print_stdout, reason = "examples print")]

use puna::interop::{self, wgpu};
use puna::{LoadOptions, Message, Sampling, SessionOptions};
use std::error::Error;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Points along a side of the pond, which is round: what leaves on one side comes in on the other.
const SIDE: usize = 64;

const WAVES: &str = "
@group(0) @binding(0) var<storage, read_write> height: array<f32>;
@group(0) @binding(1) var<storage, read_write> speed: array<f32>;

const SIDE = 64u;

fn at(x: u32, y: u32) -> u32 {
    return (y % SIDE) * SIDE + x % SIDE;
}

// Neighbours pull a point towards their own height.
@compute @workgroup_size(8, 8)
fn pull(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = id.x + SIDE;
    let y = id.y + SIDE;
    let around = height[at(x + 1u, y)] + height[at(x - 1u, y)] + height[at(x, y + 1u)] + height[at(x, y - 1u)];
    speed[at(x, y)] += 0.1 * (around - 4.0 * height[at(x, y)]);
}

@compute @workgroup_size(8, 8)
fn rise(@builtin(global_invocation_id) id: vec3<u32>) {
    height[at(id.x, id.y)] += speed[at(id.x, id.y)];
}
";

/// The pond on the application's device.
struct Pond {
    device: wgpu::Device,
    queue: wgpu::Queue,
    height: wgpu::Buffer,
    group: wgpu::BindGroup,
    steps: [wgpu::ComputePipeline; 2],
}

impl Pond {
    fn new(device: wgpu::Device, queue: wgpu::Queue) -> Pond {
        let entry = |binding| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only: false },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: None,
            entries: &[entry(0), entry(1)],
        });
        let buffer = || {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("pond"),
                size: (SIDE * SIDE * 4) as u64,
                usage: wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::COPY_DST
                    | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            })
        };
        let (height, speed) = (buffer(), buffer());
        // A drop falls into still water.
        queue.write_buffer(&height, (SIDE * SIDE / 2 * 4) as u64, &100.0f32.to_le_bytes());
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &layout,
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: height.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: speed.as_entire_binding() },
            ],
        });
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("waves"),
            source: wgpu::ShaderSource::Wgsl(WAVES.into()),
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let steps = ["pull", "rise"].map(|name| {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(name),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(name),
                compilation_options: Default::default(),
                cache: None,
            })
        });
        Pond { device, queue, height, group, steps }
    }

    /// One step, done when this returns.
    fn frame(&self) -> Result<(), wgpu::PollError> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        for step in &self.steps {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(step);
            pass.set_bind_group(0, &self.group, &[]);
            pass.dispatch_workgroups(SIDE as u32 / 8, SIDE as u32 / 8, 1);
        }
        let submission_index = Some(self.queue.submit([encoder.finish()]));
        self.device.poll(wgpu::PollType::Wait { submission_index, timeout: None }).map(drop)
    }

    /// All the water, which waves only move about.
    fn water(&self) -> Result<f32, Box<dyn Error>> {
        let host = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("water"),
            size: self.height.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&self.height, 0, &host, 0, host.size());
        self.queue.submit([encoder.finish()]);
        host.map_async(wgpu::MapMode::Read, .., |_| {});
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        let view = host.get_mapped_range(..)?;
        Ok(view.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).sum())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // The application opens its device as it needs it; larger buffers than the defaults spare a model's weights from
    // being cut up.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    let required_limits = wgpu::Limits {
        max_buffer_size: adapter.limits().max_buffer_size,
        max_storage_buffer_binding_size: adapter.limits().max_storage_buffer_binding_size,
        ..Default::default()
    };
    let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;

    let options = interop::on(LoadOptions::default(), &adapter, &device, &queue);
    let model = puna_examples::model(&options)?;
    let pond = Pond::new(device, queue);
    let answered = AtomicBool::new(false);
    let frames = thread::scope(|scope| {
        let waves = scope.spawn(|| {
            let mut frames = 0;
            while !answered.load(Ordering::Relaxed) {
                pond.frame()?;
                frames += 1;
            }
            Ok::<u64, wgpu::PollError>(frames)
        });
        let answer = answer(&model);
        answered.store(true, Ordering::Relaxed);
        let frames = waves.join().map_err(|_| "the waves stopped")??;
        answer.map(|()| frames).map_err(Box::<dyn Error>::from)
    })?;
    println!(
        "{frames} frames meanwhile on {}; of 100 parts of water there are {:.1}",
        model.info().device,
        pond.water()?
    );
    Ok(())
}

fn answer(model: &puna::Model) -> Result<(), puna::Error> {
    let mut chat = model.session(&SessionOptions::default())?;
    chat.push(&[Message::user("What makes waves?")])?;
    for token in chat.generate(&Sampling::default()).max_tokens(32) {
        print!("{}", token?.text());
        let _ = std::io::stdout().flush();
    }
    println!();
    Ok(())
}
