//! Work that is recorded and not yet submitted.

use crate::buffer::{Buffer, Span};
use crate::context::{Context, STORAGE};
use crate::pipeline::{PARAM_BYTES, Pipeline};
use crate::profile::{Profiler, TIMED};
use crate::traffic::Traffic;
use puna_core::DeviceError;
use puna_core::ops::QkPrepare;
use puna_shaders::Kernel;
use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Bytes of parameters and small host data of one submit.
const ARENA: usize = 1 << 20;
/// Multiply-adds after which a submit is made, so that none runs for long: drivers reset a GPU that is busy for seconds.
const SUBMIT_WORK: u64 = 1 << 32;
/// Bind groups kept for reuse.
const GROUPS: usize = 8192;
/// The most buffers of a kernel.
const MAX_BINDINGS: usize = 11;

/// What a device has done since it was opened or forked: dispatches, submits and reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Compute dispatches recorded.
    pub dispatches: u64,
    /// Command buffers submitted.
    pub submits: u64,
    /// Reads to the host, each of which waits.
    pub reads: u64,
    /// Bytes of weights that matrix products loaded, every load counted. Of a layer's experts, those of one a pick,
    /// or of one for each tile of picks that there may be.
    pub weight_bytes: u64,
}

/// The workgroups of a dispatch.
#[derive(Clone, Debug)]
pub(crate) enum Grid {
    /// So many in each direction.
    Direct(u32, u32),
    /// As a kernel writes them: three words of a buffer, from this byte on.
    Indirect(wgpu::Buffer, u64),
}

impl From<(u32, u32)> for Grid {
    fn from((x, y): (u32, u32)) -> Self {
        Grid::Direct(x, y)
    }
}

/// A recorded command.
#[derive(Debug)]
enum Step {
    Dispatch {
        op: &'static str,
        kernel: Kernel,
        pipeline: Arc<Pipeline>,
        group: wgpu::BindGroup,
        params: u32,
        grid: Grid,
    },
    Copy {
        source: wgpu::Buffer,
        at: u64,
        to: wgpu::Buffer,
        to_at: u64,
        bytes: u64,
    },
}

/// A device's own intermediate buffers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scratch {
    /// Gate products, and a router's logits.
    Gate,
    /// Up products.
    Up,
    /// Running maxima and sums of weights of attention.
    State,
    /// Weighted sums of parts of attention.
    Sums,
    /// Picks sorted by expert, and grids of dispatches.
    Plan,
    /// Activations as packed bytes.
    Packed,
    /// Activations as 16-bit floats.
    Halves,
}

impl Scratch {
    const COUNT: usize = Scratch::Halves as usize + 1;
}

type GroupKey = (Kernel, [(u64, u64, u64); MAX_BINDINGS]);

/// Records commands and submits them in batches of bounded work.
#[derive(Debug)]
pub(crate) struct Recorder {
    steps: Vec<Step>,
    /// What the arena will hold when the steps run.
    data: Vec<u8>,
    arena: Buffer,
    params: wgpu::BindGroup,
    work: u64,
    groups: HashMap<GroupKey, wgpu::BindGroup>,
    scratch: [Option<Buffer>; Scratch::COUNT],
    staging: Option<Buffer>,
    /// The preparation of one row that is the last step, after so many steps: what follows may take it along.
    prepared: Option<(QkPrepare, usize)>,
    pub(crate) counts: Counts,
    /// Bytes read and written by the op under way beside what is known of it from the outside.
    pub(crate) extra: (u64, u64),
    /// Bytes bound or copied so far.
    bound: u64,
    /// What each op has moved.
    pub(crate) traffic: Vec<Traffic>,
    /// The op that is being recorded.
    pub(crate) op: &'static str,
    pub(crate) profiler: Option<Profiler>,
}

impl Recorder {
    pub(crate) fn new(ctx: &Context) -> Result<Self, DeviceError> {
        let usage = STORAGE | wgpu::BufferUsages::UNIFORM;
        let arena = ctx.buffer("arena", ARENA.min(ctx.max_binding as usize) as u64, usage)?;
        let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &arena.raw,
            offset: 0,
            size: wgpu::BufferSize::new(PARAM_BYTES),
        });
        let params = ctx.guarded(0, || {
            ctx.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("params"),
                layout: &ctx.pipelines.params,
                entries: &[wgpu::BindGroupEntry { binding: 0, resource }],
            })
        })?;
        Ok(Recorder {
            steps: Vec::new(),
            data: Vec::new(),
            arena,
            params,
            work: 0,
            groups: HashMap::new(),
            scratch: [const { None }; Scratch::COUNT],
            staging: None,
            prepared: None,
            counts: Counts::default(),
            extra: (0, 0),
            bound: 0,
            traffic: Vec::new(),
            op: "",
            profiler: None,
        })
    }

    /// Words of host data that one dispatch can take along.
    pub(crate) fn data_words(&self) -> usize {
        (self.arena.raw.size() as usize - 3 * PARAM_BYTES as usize) / 4
    }

    /// Puts host data where kernels can read it: bound through [`arena`](Self::arena) from the returned element on.
    /// It is there for the next dispatch and no other.
    pub(crate) fn upload(&mut self, ctx: &Context, words: &[u32]) -> Result<u32, DeviceError> {
        // Room for the parameters of the dispatch that uses it, too: a submit must not come between.
        self.room(ctx, words.len() * 4 + 2 * PARAM_BYTES as usize)?;
        let at = self.data.len() / 4;
        self.data.extend_from_slice(bytemuck::cast_slice(words));
        Ok(at as u32)
    }

    /// The buffer of uploaded data.
    pub(crate) fn arena(&self) -> Buffer {
        self.arena.clone()
    }

    fn room(&mut self, ctx: &Context, bytes: usize) -> Result<(), DeviceError> {
        match self.data.len().next_multiple_of(PARAM_BYTES as usize) + bytes > self.arena.raw.size() as usize
        {
            true => self.submit(ctx),
            false => Ok(()),
        }
    }

    /// Records a dispatch. `work` is its number of multiply-adds, more or less.
    pub(crate) fn dispatch(
        &mut self,
        ctx: &Context,
        kernel: Kernel,
        params: &[u32],
        spans: &[Span<'_>],
        grid: impl Into<Grid>,
        work: u64,
    ) -> Result<(), DeviceError> {
        let pipeline = ctx.pipelines.get(ctx, kernel)?;
        let group = self.group(ctx, kernel, &pipeline, spans)?;
        self.room(ctx, PARAM_BYTES as usize)?;
        let at = self.data.len().next_multiple_of(PARAM_BYTES as usize);
        self.data.resize(at, 0);
        self.data.extend_from_slice(bytemuck::cast_slice(params));
        self.data.resize(at + PARAM_BYTES as usize, 0);
        let (op, params, grid) = (self.op, at as u32, grid.into());
        self.steps.push(Step::Dispatch { op, kernel, pipeline, group, params, grid });
        self.counts.dispatches += 1;
        let others = [self.arena.id, ctx.nothing.id, ctx.unused.id];
        let held = spans.iter().filter(|span| !others.contains(&span.buffer.id));
        self.bound += held.map(|span| span.size).sum::<u64>();
        self.work = self.work.saturating_add(work);
        let timed = self.profiler.is_some() && self.steps.len() >= TIMED;
        if self.work >= SUBMIT_WORK || timed { self.submit(ctx) } else { Ok(()) }
    }

    /// Begins to count what an op moves.
    pub(crate) fn begin(&mut self, op: &'static str) -> (u64, u64) {
        (self.op, self.extra) = (op, (0, 0));
        (self.counts.weight_bytes, self.bound)
    }

    /// Counts what an op has moved, of which `known` is read and written; `before` is what [`begin`](Self::begin) gave.
    pub(crate) fn end(&mut self, known: (u64, u64), before: (u64, u64)) {
        let read = known.0 + self.extra.0 + self.counts.weight_bytes - before.0;
        let (written, bound) = (known.1 + self.extra.1, self.bound - before.1);
        match self.traffic.iter_mut().find(|traffic| traffic.op == self.op) {
            Some(traffic) => {
                traffic.read += read;
                traffic.written += written;
                traffic.bound += bound;
            }
            None => self.traffic.push(Traffic { op: self.op, read, written, bound }),
        }
    }

    /// Notes that the last step prepares one row.
    pub(crate) fn prepared(&mut self, op: &QkPrepare) {
        self.prepared = (!self.steps.is_empty()).then(|| (op.clone(), self.steps.len()));
    }

    /// What the last step prepares, if it does.
    pub(crate) fn last_prepared(&self) -> Option<QkPrepare> {
        let last = self.prepared.as_ref().filter(|(_, steps)| *steps == self.steps.len());
        last.map(|(op, _)| op.clone())
    }

    /// Takes the last step back, a dispatch.
    pub(crate) fn undo(&mut self) {
        self.prepared = None;
        if self.steps.pop().is_some() {
            self.counts.dispatches -= 1;
        }
    }

    fn group(
        &mut self,
        ctx: &Context,
        kernel: Kernel,
        pipeline: &Pipeline,
        spans: &[Span<'_>],
    ) -> Result<wgpu::BindGroup, DeviceError> {
        let mut parts = [(0, 0, 0); MAX_BINDINGS];
        for (part, span) in parts.iter_mut().zip(spans) {
            *part = (span.buffer.id, span.offset, span.size);
        }
        if let Some(group) = self.groups.get(&(kernel, parts)) {
            return Ok(group.clone());
        }
        let entries: Vec<_> = (0..)
            .zip(spans)
            .map(|(binding, span)| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &span.buffer.raw,
                    offset: span.offset,
                    size: wgpu::BufferSize::new(span.size),
                }),
            })
            .collect();
        let descriptor =
            wgpu::BindGroupDescriptor { label: None, layout: &pipeline.layout, entries: &entries };
        let group = ctx.guarded(0, || ctx.device.create_bind_group(&descriptor))?;
        if self.groups.len() >= GROUPS {
            self.groups.clear();
        }
        self.groups.insert((kernel, parts), group.clone());
        Ok(group)
    }

    /// Forgets the bind groups that hold on to a buffer.
    pub(crate) fn release(&mut self, id: u64) {
        self.groups.retain(|(_, parts), _| parts.iter().all(|p| p.0 != id));
    }

    /// Records a copy; all numbers are bytes and multiples of 4.
    pub(crate) fn copy(&mut self, source: &Buffer, at: u64, to: &Buffer, to_at: u64, bytes: u64) {
        if bytes > 0 {
            let (source, to) = (source.raw.clone(), to.raw.clone());
            self.bound += 2 * bytes;
            self.steps.push(Step::Copy { source, at, to, to_at, bytes });
        }
    }

    /// A scratch buffer of at least `len` F32 elements; what it held may be gone.
    pub(crate) fn scratch(
        &mut self,
        ctx: &Context,
        which: Scratch,
        len: usize,
    ) -> Result<Buffer, DeviceError> {
        let bytes = len as u64 * 4;
        let slot = which as usize;
        if let Some(buffer) = &self.scratch[slot] {
            if buffer.raw.size() >= bytes {
                return Ok(buffer.clone());
            }
            let id = buffer.id;
            self.release(id);
        }
        let mut usage = STORAGE;
        if matches!(which, Scratch::Plan) && ctx.indirect {
            usage |= wgpu::BufferUsages::INDIRECT;
        }
        let buffer = ctx.buffer("scratch", bytes, usage)?;
        self.scratch[slot] = Some(buffer.clone());
        Ok(buffer)
    }

    /// Hands everything recorded to the GPU and does not wait for it.
    pub(crate) fn submit(&mut self, ctx: &Context) -> Result<(), DeviceError> {
        self.prepared = None;
        if self.steps.is_empty() {
            self.data.clear();
            return ctx.check();
        }
        ctx.queue.write_buffer(&self.arena.raw, 0, &self.data);
        let mut encoder = ctx.device.create_command_encoder(&Default::default());
        let mut pass: Option<wgpu::ComputePass<'static>> = None;
        for step in self.steps.drain(..) {
            match step {
                Step::Dispatch { op, kernel, pipeline, group, params, grid } => {
                    // With a profiler, each dispatch is a pass of its own between two timestamps.
                    if let Some(profiler) = &mut self.profiler {
                        let timestamp_writes = Some(profiler.next(op, kernel));
                        let timed = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
                        drop(pass.take());
                        pass = Some(encoder.begin_compute_pass(&timed).forget_lifetime());
                    }
                    let pass = pass.get_or_insert_with(|| {
                        encoder.begin_compute_pass(&Default::default()).forget_lifetime()
                    });
                    pass.set_pipeline(&pipeline.raw);
                    pass.set_bind_group(0, &self.params, &[params]);
                    pass.set_bind_group(1, &group, &[]);
                    match grid {
                        Grid::Direct(x, y) => pass.dispatch_workgroups(x, y, 1),
                        Grid::Indirect(buffer, at) => pass.dispatch_workgroups_indirect(&buffer, at),
                    }
                }
                Step::Copy { source, at, to, to_at, bytes } => {
                    pass = None;
                    encoder.copy_buffer_to_buffer(&source, at, &to, to_at, bytes);
                }
            }
        }
        drop(pass);
        if let Some(profiler) = &self.profiler {
            profiler.resolve(&mut encoder);
        }
        ctx.queue.submit([encoder.finish()]);
        self.data.clear();
        self.work = 0;
        self.counts.submits += 1;
        // Frees what finished submits held; an error shows in `check`.
        let _ = ctx.device.poll(wgpu::PollType::Poll);
        if let Some(profiler) = &mut self.profiler {
            profiler.collect(ctx)?;
        }
        ctx.check()
    }

    /// Writes host values into a buffer, after everything recorded so far. `at` counts bytes.
    pub(crate) fn write(
        &mut self,
        ctx: &Context,
        to: &Buffer,
        at: u64,
        values: &[f32],
    ) -> Result<(), DeviceError> {
        if values.len() <= 16 * 1024 && values.len() <= self.data_words() {
            let words: &[u32] = bytemuck::cast_slice(values);
            let from = self.upload(ctx, words)?;
            let arena = self.arena();
            self.copy(&arena, u64::from(from) * 4, to, at, values.len() as u64 * 4);
            return Ok(());
        }
        // Queue writes take effect before the next submit, so what is recorded must be submitted first.
        self.submit(ctx)?;
        ctx.queue.write_buffer(&to.raw, at, bytemuck::cast_slice(values));
        ctx.check()
    }

    /// Runs everything recorded and copies values to the host. `at` counts bytes.
    pub(crate) fn read(
        &mut self,
        ctx: &Context,
        from: &Buffer,
        at: u64,
        into: &mut [f32],
    ) -> Result<(), DeviceError> {
        self.counts.reads += 1;
        let part = (ctx.max_buffer as usize).min(16 << 20) / 4;
        for (i, into) in into.chunks_mut(part).enumerate() {
            let bytes = into.len() as u64 * 4;
            let staging = self.staging(ctx, bytes)?;
            self.copy(from, at + (i * part) as u64 * 4, &staging, 0, bytes);
            self.submit(ctx)?;
            fetch(ctx, &staging, bytes, |view| {
                bytemuck::cast_slice_mut::<f32, u8>(into).copy_from_slice(view);
            })?;
        }
        Ok(())
    }

    fn staging(&mut self, ctx: &Context, bytes: u64) -> Result<Buffer, DeviceError> {
        match &self.staging {
            Some(buffer) if buffer.raw.size() >= bytes => Ok(buffer.clone()),
            _ => {
                let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
                let buffer = ctx.buffer("read", bytes.next_power_of_two().min(ctx.max_buffer), usage)?;
                self.staging = Some(buffer.clone());
                Ok(buffer)
            }
        }
    }
}

/// Waits until a staging buffer is filled, and shows its first bytes.
pub(crate) fn fetch(
    ctx: &Context,
    staging: &Buffer,
    bytes: u64,
    see: impl FnOnce(&[u8]),
) -> Result<(), DeviceError> {
    let (tell, told) = mpsc::channel();
    staging.raw.map_async(wgpu::MapMode::Read, 0..bytes, move |result| {
        // Nobody listens any more if the read was given up because the device was lost.
        let _ = tell.send(result);
    });
    let lost = |why: String| DeviceError::Lost(why);
    loop {
        ctx.wait()?;
        // Whoever polls first runs the callbacks: a fork in another thread may have taken ours and be about to.
        match told.recv_timeout(Duration::from_millis(10)) {
            Ok(Ok(())) => break,
            Ok(Err(e)) => return Err(lost(e.to_string())),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(lost("a read-back was dropped by the driver".into()));
            }
        }
    }
    {
        let view = staging.raw.get_mapped_range(0..bytes).map_err(|e| lost(e.to_string()))?;
        see(&view);
    }
    staging.raw.unmap();
    Ok(())
}
