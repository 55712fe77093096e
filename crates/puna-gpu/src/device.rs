//! The GPU as a device.

use crate::buffer::{Buffer, Stored, f32_rows};
use crate::context::{Context, Options, STORAGE};
use crate::error::OpenError;
use crate::ops::Ops;
use crate::pipeline::Compiler;
use crate::profile::Profiler;
use crate::recorder::{Counts, Recorder};
use crate::tier::{self, TierReport};
use crate::tiles::{self, Choice, Chosen, Tiles};
use crate::traffic::{self, Traffic};
use crate::weights::Weights;
use puna_core::{Buf, DType, Device, DeviceError, DeviceInfo, Elem, Op, OpTime, Place, Region, Rows, Weight};
use puna_shaders::quant;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A GPU that computes every op in WGSL.
///
/// Ops are recorded; they run when something is read, or when enough work has gathered for one submit. Forks share
/// the adapter, the compiled kernels and the weights.
#[derive(Debug)]
pub struct GpuDevice {
    ctx: Arc<Context>,
    weights: Vec<Arc<Weights>>,
    buffers: Vec<Option<Stored>>,
    /// Locked only so that [`Device::fork`] can submit what is recorded.
    recorder: Mutex<Recorder>,
    tiers: TierReport,
}

impl GpuDevice {
    /// Opens a GPU and waits until that is done.
    ///
    /// # Errors
    /// No adapter, one that is too weak, or a driver that refuses.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        pollster::block_on(Self::open_async(options))
    }

    /// Opens a GPU.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_async(options: &Options) -> Result<Self, OpenError> {
        Self::with_context(Context::open(options).await?, options)
    }

    /// With the first tier that works, or with the one that is asked for.
    pub(crate) fn with_context(mut ctx: Context, options: &Options) -> Result<Self, OpenError> {
        let mut rejected = Vec::new();
        for tier in tier::candidates(&ctx, options.tier) {
            ctx.tier = tier;
            let mut device = Self::plain(ctx)?;
            match tier::self_test(&mut device) {
                Ok(()) => {
                    let chosen = tiles::choose(&mut device, options)?;
                    device.tiers = TierReport::new(tier, rejected, chosen);
                    device.forget();
                    return Ok(device);
                }
                Err(why) => rejected.push((tier, why)),
            }
            let Some(back) = Arc::into_inner(device.ctx) else { break };
            ctx = back;
            if ctx.check().is_err() {
                break;
            }
        }
        let tried = rejected.iter().map(|(tier, why)| format!("{}: {why}", tier.name()));
        Err(OpenError::NoTier { tried: tried.collect::<Vec<_>>().join("; ") })
    }

    /// The driver computes on a CPU.
    pub(crate) fn software(&self) -> bool {
        self.ctx.software
    }

    pub(crate) fn context(&self) -> &Context {
        &self.ctx
    }

    /// Says what tiles of rows are multiplied in; before anybody shares the context.
    pub(crate) fn set_tiles(&mut self, tiles: Choice) {
        if let Some(ctx) = Arc::get_mut(&mut self.ctx) {
            ctx.tiles = tiles;
        }
    }

    fn plain(ctx: Context) -> Result<Self, OpenError> {
        let recorder = Recorder::new(&ctx);
        let refused =
            |e: DeviceError| OpenError::Refused { adapter: ctx.name.clone(), reason: e.to_string() };
        let recorder = Mutex::new(recorder.map_err(refused)?);
        let tiers = TierReport::new(ctx.tier, Vec::new(), Chosen::new(Tiles::F32, Tiles::F32));
        Ok(GpuDevice { ctx: Arc::new(ctx), weights: Vec::new(), buffers: Vec::new(), recorder, tiers })
    }

    /// Forgets what the self-test left behind.
    fn forget(&mut self) {
        self.weights.clear();
        let recorder = self.recorder.get_mut().unwrap_or_else(PoisonError::into_inner);
        for stored in self.buffers.drain(..).flatten() {
            recorder.release(stored.buffer.id);
        }
        recorder.counts = Counts::default();
        recorder.traffic.clear();
    }

    /// The tier of kernels in use, and those that failed their self-test.
    pub fn tiers(&self) -> &TierReport {
        &self.tiers
    }

    pub(crate) fn wgpu(&self) -> (&wgpu::Device, &wgpu::Queue) {
        (&self.ctx.device, &self.ctx.queue)
    }

    pub(crate) fn set_cache(&self, cache: wgpu::PipelineCache) -> bool {
        self.ctx.pipelines.cache.set(cache).is_ok()
    }

    /// What was done since the device was opened or forked.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// What each op has moved since the device was opened or forked, by the formulas of what kernels load and store.
    pub fn traffic(&self) -> Vec<Traffic> {
        self.lock().traffic.clone()
    }

    /// What compiles kernels for this device and its forks ahead of their use; otherwise each is compiled when it is first
    /// used.
    pub fn compiler(&self) -> Compiler {
        Compiler { ctx: self.ctx.clone(), tier: self.tiers.used }
    }

    /// Kernels compiled so far, for this device and its forks.
    pub fn compiled(&self) -> usize {
        self.ctx.pipelines.len()
    }

    /// The first words of the last plan of experts' picks.
    #[cfg(test)]
    pub(crate) fn plan(&mut self, words: usize) -> Vec<u32> {
        let recorder = self.recorder.get_mut().unwrap();
        let plan = recorder.scratch(&self.ctx, crate::recorder::Scratch::Plan, words).unwrap();
        let mut values = vec![0.0; words];
        recorder.read(&self.ctx, &plan, 0, &mut values).unwrap();
        values.into_iter().map(f32::to_bits).collect()
    }

    /// A panic while recording leaves at worst an op half recorded; what was recorded before it is whole.
    fn lock(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn upload(
        &mut self,
        regions: &[Region],
        step: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Weight, DeviceError> {
        self.ctx.check()?;
        self.weights.push(Arc::new(Weights::upload(&self.ctx, regions, step)?));
        Ok(Weight(self.weights.len() as u32 - 1))
    }

    fn buffer(&self, elem: Elem, len: usize) -> Result<Buffer, DeviceError> {
        let bytes = (len as u64).checked_mul(elem.bytes() as u64);
        let bytes = bytes.ok_or_else(|| DeviceError::out_of_memory(elem, len))?;
        self.ctx.buffer("buffer", bytes, STORAGE)
    }
}

impl Device for GpuDevice {
    fn info(&self) -> DeviceInfo {
        let formats = DType::ALL.into_iter().filter(|t| quant::by_name(t.name()).is_some());
        let mut info = DeviceInfo::default();
        info.name = format!("gpu {}", self.ctx.name);
        let used = self.tiers.used;
        let tiles = |t: &DType| quant::by_name(t.name()).and_then(|f| self.ctx.tiles.of(f, used));
        info.kernels = formats.map(|t| (t, tier::described(used, tiles(&t)))).collect();
        info
    }

    fn far(&self, _buf: Buf) -> bool {
        true
    }

    fn load(&mut self, region: &Region) -> Result<Weight, DeviceError> {
        self.load_in_steps(Place::default(), region, &mut |_| true)
    }

    fn load_in_steps(
        &mut self,
        _place: Place,
        region: &Region,
        step: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Weight, DeviceError> {
        self.upload(core::slice::from_ref(region), step)
    }

    fn load_together(
        &mut self,
        _place: Place,
        regions: &[Region],
        step: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<Weight>, DeviceError> {
        // Each begins on a whole word.
        let whole = regions.iter().rev().skip(1).all(|region| region.len().is_multiple_of(4));
        if whole { self.upload(regions, step).map(Some) } else { Ok(None) }
    }

    fn alloc(&mut self, elem: Elem, len: usize) -> Result<Buf, DeviceError> {
        let stored = Stored { buffer: self.buffer(elem, len)?, elem, len };
        let slot = self.buffers.iter().position(Option::is_none).unwrap_or(self.buffers.len());
        match self.buffers.get_mut(slot) {
            Some(free) => *free = Some(stored),
            None => self.buffers.push(Some(stored)),
        }
        Ok(Buf(slot as u32))
    }

    fn free(&mut self, buf: Buf) {
        // Recorded ops keep the memory until they have run.
        if let Some(stored) = self.buffers.get_mut(buf.0 as usize).and_then(Option::take) {
            self.recorder.get_mut().unwrap_or_else(PoisonError::into_inner).release(stored.buffer.id);
        }
    }

    fn write(&mut self, to: Buf, at: usize, values: &[f32]) -> Result<(), DeviceError> {
        self.ctx.check()?;
        let rows = Rows { buf: to, offset: at, n_rows: 1, width: values.len() };
        let to = f32_rows(&self.buffers, "write", "rows", &rows)?;
        let recorder = self.recorder.get_mut().unwrap_or_else(PoisonError::into_inner);
        recorder.write(&self.ctx, &to.buffer, at as u64 * 4, values)
    }

    fn issue(&mut self, op: &Op<'_>) -> Result<(), DeviceError> {
        op.check()?;
        self.ctx.check()?;
        let rec = self.recorder.get_mut().unwrap_or_else(PoisonError::into_inner);
        let before = rec.begin(op.name());
        Ops { ctx: &self.ctx, weights: &self.weights, buffers: &self.buffers, rec }.record(op)?;
        rec.end(traffic::moved(op), before);
        Ok(())
    }

    fn read(&mut self, from: &Rows, into: &mut [f32]) -> Result<(), DeviceError> {
        self.ctx.check()?;
        let source = f32_rows(&self.buffers, "read", "rows", from)?;
        if from.len() != into.len() {
            let (expected, found) = (from.len() as u64, into.len() as u64);
            return Err(DeviceError::Shape { op: "read", what: "host length", expected, found });
        }
        let recorder = self.recorder.get_mut().unwrap_or_else(PoisonError::into_inner);
        recorder.read(&self.ctx, &source.buffer, from.offset as u64 * 4, into)
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        self.recorder.get_mut().unwrap_or_else(PoisonError::into_inner).submit(&self.ctx)
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let Counts { dispatches, submits, reads, weight_bytes } = self.counts();
        let traffic = self.traffic();
        let mut all = vec![
            ("dispatches", dispatches),
            ("kernels compiled", self.compiled() as u64),
            ("submits", submits),
            ("reads", reads),
            ("weight bytes", weight_bytes),
            ("bytes read", traffic.iter().map(|t| t.read).sum()),
            ("bytes written", traffic.iter().map(|t| t.written).sum()),
        ];
        all.extend(traffic.iter().map(|t| (traffic::label(t.op), t.read + t.written)));
        all
    }

    /// Measured dispatches run one by one, and each submit is waited for.
    fn profile(&mut self, on: bool) -> Result<bool, DeviceError> {
        let recorder = self.recorder.get_mut().unwrap_or_else(PoisonError::into_inner);
        recorder.submit(&self.ctx)?;
        recorder.profiler = if on { Profiler::new(&self.ctx)? } else { None };
        Ok(self.ctx.device.features().contains(wgpu::Features::TIMESTAMP_QUERY))
    }

    fn times(&mut self) -> Result<Vec<OpTime>, DeviceError> {
        let recorder = self.recorder.get_mut().unwrap_or_else(PoisonError::into_inner);
        recorder.submit(&self.ctx)?;
        Ok(recorder.profiler.as_ref().map(Profiler::times).unwrap_or_default())
    }

    fn fork(&self) -> Result<Box<dyn Device>, DeviceError> {
        self.lock().submit(&self.ctx)?;
        let mut recorder = Recorder::new(&self.ctx)?;
        let mut buffers = Vec::with_capacity(self.buffers.len());
        for stored in &self.buffers {
            let copy = match stored {
                Some(Stored { buffer, elem, len }) => {
                    let copy = self.buffer(*elem, *len)?;
                    recorder.copy(buffer, 0, &copy, 0, buffer.raw.size());
                    Some(Stored { buffer: copy, elem: *elem, len: *len })
                }
                None => None,
            };
            buffers.push(copy);
        }
        recorder.submit(&self.ctx)?;
        recorder.counts = Counts::default();
        Ok(Box::new(GpuDevice {
            ctx: self.ctx.clone(),
            weights: self.weights.clone(),
            buffers,
            recorder: Mutex::new(recorder),
            tiers: self.tiers.clone(),
        }))
    }
}
