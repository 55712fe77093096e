//! An opened adapter: what all devices made from it share.

use crate::buffer::Buffer;
use crate::error::OpenError;
use crate::pipeline::Pipelines;
use crate::tiles::{Choice, Tiles};
use puna_core::DeviceError;
use puna_shaders::{Kernel, Narrow, Tier};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How to open a GPU.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// Index in [`adapters`](crate::adapters); the system's choice of the fastest if not given.
    pub adapter: Option<usize>,
    /// Ask for no more than WebGPU's default limits, even where the adapter offers more.
    pub default_limits: bool,
    /// Use no storage binding of more than this many bytes.
    pub binding_limit: Option<u64>,
    /// Create no buffer of more than this many bytes.
    pub buffer_limit: Option<u64>,
    /// Compute matrix products in this tier and no other; the best that works if not given.
    pub tier: Option<Tier>,
    /// Let the GPU itself count the workgroups of experts' products; where it can, if not given.
    pub indirect: Option<bool>,
    /// What many rows are multiplied in; if not given, what the race finds fastest, or F32 without one.
    pub tiles: Option<Tiles>,
    /// Whether there is such a race when the device is opened; if not given, but for drivers that compute on a CPU.
    pub race: Option<bool>,
}

impl Options {
    /// The system's choice of adapter, with all its limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses an adapter by its index in [`adapters`](crate::adapters).
    pub fn adapter(mut self, index: usize) -> Self {
        self.adapter = Some(index);
        self
    }

    /// Whether to stay within WebGPU's default limits (128 MiB a binding, 256 MiB a buffer).
    pub fn default_limits(mut self, yes: bool) -> Self {
        self.default_limits = yes;
        self
    }

    /// Lowers the size of bindings: weights are split by rows accordingly. At least 4 KiB.
    pub fn binding_limit(mut self, bytes: u64) -> Self {
        self.binding_limit = Some(bytes);
        self
    }

    /// Lowers the size of buffers: weights are split over several, larger activations are refused. At least 4 KiB.
    pub fn buffer_limit(mut self, bytes: u64) -> Self {
        self.buffer_limit = Some(bytes);
        self
    }
}

impl Options {
    /// Whether the GPU itself counts the workgroups of experts' products, by indirect dispatch. Where the adapter cannot,
    /// and where it must not, as many are dispatched as there can be.
    pub fn indirect(mut self, yes: bool) -> Self {
        self.indirect = Some(yes);
        self
    }

    /// Fixes what products of many rows are multiplied in: opening fails where the adapter cannot do it, or gives wrong
    /// results.
    pub fn tiles(mut self, tiles: Tiles) -> Self {
        self.tiles = Some(tiles);
        self
    }

    /// Whether all [`Tiles`] that give the right results are timed by a small product when the device is opened. One is used if
    /// it takes at most 0.9 times as long as those that round less. The choice may differ from start to start where two are
    /// about equal.
    pub fn race(mut self, yes: bool) -> Self {
        self.race = Some(yes);
        self
    }

    /// Forces a tier of kernels: opening fails where the adapter cannot do it.
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }
}

/// Facts about an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdapterInfo {
    /// What to give to [`Options::adapter`].
    pub index: usize,
    /// The adapter's own name.
    pub name: String,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: &'static str,
    /// The driver and its version.
    pub driver: String,
    /// A driver that computes on the CPU.
    pub software: bool,
    /// Largest binding of a storage buffer, in bytes.
    pub max_binding: u64,
    /// Largest buffer, in bytes.
    pub max_buffer: u64,
    /// Invocations of a workgroup at most.
    pub max_invocations: u32,
    /// Bytes of memory that a workgroup shares.
    pub workgroup_bytes: u32,
    /// Smallest and largest number of invocations that run in step; `None` where kernels cannot use that.
    pub subgroup: Option<(u32, u32)>,
    /// Whether shaders can compute in 16-bit floats.
    pub f16: bool,
}

impl AdapterInfo {
    fn new(index: usize, adapter: &wgpu::Adapter) -> Self {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        AdapterInfo {
            index,
            name: info.name,
            backend: info.backend.to_str(),
            driver: [info.driver, info.driver_info].join(" ").trim().to_string(),
            software: info.device_type == wgpu::DeviceType::Cpu,
            max_binding: limits.max_storage_buffer_binding_size,
            max_buffer: limits.max_buffer_size,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            subgroup: adapter
                .features()
                .contains(wgpu::Features::SUBGROUP)
                .then_some((info.subgroup_min_size, info.subgroup_max_size)),
            f16: adapter.features().contains(wgpu::Features::SHADER_F16),
        }
    }
}

fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    // wgpu would put a dispatch of its own before each indirect one, to check its grid. Ours are bounded by the kernel that
    // writes them: `route/sort`.
    descriptor.flags.remove(wgpu::InstanceFlags::VALIDATION_INDIRECT_CALL);
    wgpu::Instance::new(descriptor)
}

/// All adapters of this machine, in a stable order.
pub async fn adapters() -> Vec<AdapterInfo> {
    let all = instance().enumerate_adapters(wgpu::Backends::PRIMARY).await;
    all.iter().enumerate().map(|(i, a)| AdapterInfo::new(i, a)).collect()
}

/// As [`adapters`], and waits until they have answered.
pub fn list() -> Vec<AdapterInfo> {
    pollster::block_on(adapters())
}

/// An opened adapter with its queue and compiled pipelines, shared by a device and its forks.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) name: String,
    /// Bytes, below 2^32: shaders compute byte addresses in 32 bits.
    pub(crate) max_binding: u64,
    pub(crate) max_buffer: u64,
    /// Multiple that the offset of a binding must be.
    pub(crate) align: u64,
    /// The driver computes on the CPU.
    pub(crate) software: bool,
    /// What tiles of rows are multiplied in.
    pub(crate) tiles: Choice,
    /// Kernels may compute in 16-bit floats.
    pub(crate) half: bool,
    /// Cooperative matrices that kernels may multiply.
    pub(crate) matrix: Option<Matrix>,
    /// Kernels may write the grids of dispatches.
    pub(crate) indirect: bool,
    /// How matrix products are computed.
    pub(crate) tier: Tier,
    /// Multiple that the offset of a window of uniforms must be; `None` where they cannot be bound in windows.
    uniform_align: Option<u64>,
    pub(crate) pipelines: Pipelines,
    /// Bound where a kernel's operand is absent.
    pub(crate) nothing: Buffer,
    /// Bound where a kernel could write and does not.
    pub(crate) unused: Buffer,
    next_id: AtomicU64,
    failure: Arc<Mutex<Option<String>>>,
}

/// Cooperative matrices of 16-bit floats, summed in F32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix {
    pub(crate) how: Narrow,
    /// Invocations of four subgroups of the largest size.
    pub(crate) threads: u32,
}

impl Matrix {
    /// The largest that a device has, if it was opened with the features that they take.
    fn of(adapter: &wgpu::Adapter, device: &wgpu::Device) -> Option<Self> {
        let needed = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
            | wgpu::Features::SHADER_F16
            | wgpu::Features::SUBGROUP;
        let threads = 4 * adapter.get_info().subgroup_max_size;
        if !device.features().contains(needed)
            || threads > device.limits().max_compute_invocations_per_workgroup
        {
            return None;
        }
        let all = adapter.cooperative_matrix_properties();
        let sides = |side| {
            all.iter().any(|p| {
                (p.m_size, p.n_size, p.k_size) == (side, side, side)
                    && p.ab_type == wgpu::CooperativeScalarType::F16
                    && p.cr_type == wgpu::CooperativeScalarType::F32
            })
        };
        let how = [(16, Narrow::Matrix16), (8, Narrow::Matrix8)].into_iter().find(|(side, _)| sides(*side));
        how.map(|(_, how)| Matrix { how, threads })
    }
}

/// Memory usages of every buffer that shaders see.
pub(crate) const STORAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_DST).union(wgpu::BufferUsages::COPY_SRC);

impl Context {
    /// Chooses an adapter and opens it.
    pub(crate) async fn open(options: &Options) -> Result<Self, OpenError> {
        let instance = instance();
        let adapter = match options.adapter {
            Some(index) => {
                let mut all = instance.enumerate_adapters(wgpu::Backends::PRIMARY).await;
                if index >= all.len() {
                    let found = format!("there are {}", all.len());
                    return Err(OpenError::NoAdapter { asked: Some(index), found });
                }
                all.swap_remove(index)
            }
            None => {
                let wish = wgpu::RequestAdapterOptions {
                    power_preference: wgpu::PowerPreference::HighPerformance,
                    ..Default::default()
                };
                let found = instance.request_adapter(&wish).await;
                found.map_err(|e| OpenError::NoAdapter { asked: None, found: e.to_string() })?
            }
        };
        let name = adapter.get_info().name;
        let offered = adapter.limits();
        let defaults = wgpu::Limits::defaults();
        if !adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS) {
            return Err(OpenError::TooWeak { adapter: name, lacks: "compute shaders".into() });
        }
        let required_limits = wgpu::Limits {
            max_storage_buffer_binding_size: offered.max_storage_buffer_binding_size,
            max_buffer_size: offered.max_buffer_size,
            ..defaults.clone()
        };
        let required_limits = if options.default_limits { defaults } else { required_limits };
        let mut lacks = String::new();
        required_limits.check_limits_with_fail_fn(&offered, false, |limit, wanted, found| {
            lacks += &format!("{limit} of {wanted} (it has {found}); ");
        });
        if !lacks.is_empty() {
            return Err(OpenError::TooWeak { adapter: name, lacks });
        }
        // Timestamps cost nothing until a profile asks for them.
        let wanted = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16;
        let required_features = adapter.features() & wanted;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("puna"),
            required_features,
            required_limits,
            ..Default::default()
        };
        let opened = adapter.request_device(&descriptor).await;
        let (device, queue) =
            opened.map_err(|e| OpenError::Refused { adapter: name, reason: e.to_string() })?;
        Ok(Self::from_wgpu(&adapter, device, queue, options))
    }

    /// Takes over an opened device. Its error handler and its lost callback become ours.
    pub(crate) fn from_wgpu(
        adapter: &wgpu::Adapter,
        device: wgpu::Device,
        queue: wgpu::Queue,
        options: &Options,
    ) -> Self {
        let failure = Arc::new(Mutex::new(None));
        let keep = |failure: &Arc<Mutex<Option<String>>>, why: String| {
            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        };
        let (lost, uncaptured) = (failure.clone(), failure.clone());
        device.set_device_lost_callback(move |reason, message| keep(&lost, format!("{reason:?}: {message}")));
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| keep(&uncaptured, error.to_string())));

        let (info, limits) = (AdapterInfo::new(0, adapter), device.limits());
        let able = adapter.get_downlevel_capabilities().flags;
        let able = able.contains(wgpu::DownlevelFlags::INDIRECT_EXECUTION);
        let limit = |asked: Option<u64>, offered: u64| {
            let below = offered.min(asked.unwrap_or(u64::MAX).max(4096));
            // Whole alignment units, and byte addresses of 32 bits.
            below.min(u64::from(u32::MAX)) & !255
        };
        let small = |label, id| Buffer {
            raw: device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: 256,
                usage: STORAGE,
                mapped_at_creation: false,
            }),
            id,
        };
        let max_binding = limit(options.binding_limit, limits.max_storage_buffer_binding_size);
        let max_buffer = limit(options.buffer_limit, limits.max_buffer_size);
        let windows = max_binding.min(max_buffer).min(limits.max_uniform_buffer_binding_size)
            >= Kernel::WINDOW
            && limits.max_uniform_buffers_per_shader_stage as usize > 2 * Kernel::WINDOWS;
        let uniform_align = u64::from(limits.min_uniform_buffer_offset_alignment).max(16);
        Context {
            name: format!("{} ({}, {})", info.name, info.backend, info.driver),
            max_binding,
            max_buffer,
            align: u64::from(limits.min_storage_buffer_offset_alignment).max(16),
            software: info.software,
            tiles: Choice::default(),
            half: device.features().contains(wgpu::Features::SHADER_F16),
            matrix: Matrix::of(adapter, &device),
            indirect: able && options.indirect.unwrap_or(true),
            tier: Tier::Thread,
            uniform_align: windows.then_some(uniform_align),
            pipelines: Pipelines::new(&device),
            nothing: small("nothing", 0),
            unused: small("unused", 1),
            next_id: AtomicU64::new(2),
            device,
            queue,
            failure,
        }
    }

    /// An error if the device was lost or has failed since it was opened.
    pub(crate) fn check(&self) -> Result<(), DeviceError> {
        match &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(why) => Err(DeviceError::Lost(why.clone())),
            None => Ok(()),
        }
    }

    /// Runs `f` and returns what it made, or the error that the driver raised in it.
    pub(crate) fn guarded<T>(&self, bytes: u64, f: impl FnOnce() -> T) -> Result<T, DeviceError> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = f();
        let (validation, internal, memory) = (validation.pop(), internal.pop(), memory.pop());
        let failed = pollster::block_on(validation).or(pollster::block_on(internal));
        match (pollster::block_on(memory), failed) {
            (Some(_), _) => Err(DeviceError::OutOfMemory { bytes }),
            (None, Some(error)) => Err(DeviceError::Lost(error.to_string())),
            (None, None) => self.check().map(|()| made),
        }
    }

    /// The multiple that the offset of a window of uniforms must be, where kernels read weights and activations that way.
    pub(crate) fn windows(&self) -> Option<u64> {
        self.uniform_align.filter(|_| self.tier == Tier::Lanes)
    }

    /// A zeroed buffer of at least `bytes` bytes.
    pub(crate) fn buffer(
        &self,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<Buffer, DeviceError> {
        let mut size = bytes.checked_next_multiple_of(16).unwrap_or(!15).max(16);
        if size > self.max_buffer {
            return Err(DeviceError::OutOfMemory { bytes });
        }
        let mut usage = usage;
        if self.windows().is_some() && usage.contains(wgpu::BufferUsages::STORAGE) {
            // The last window ends with the buffer. Limits are multiples of 256, and no less than a window.
            size = size.next_multiple_of(256).max(Kernel::WINDOW);
            usage |= wgpu::BufferUsages::UNIFORM;
        }
        let descriptor =
            wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        let raw = self.guarded(bytes, || self.device.create_buffer(&descriptor))?;
        Ok(Buffer { raw, id: self.next_id.fetch_add(1, Ordering::Relaxed) })
    }

    /// Waits until everything submitted has been done.
    pub(crate) fn wait(&self) -> Result<(), DeviceError> {
        let polled = self.device.poll(wgpu::PollType::wait_indefinitely());
        self.check()?;
        polled.map(|_| ()).map_err(|e| DeviceError::Lost(e.to_string()))
    }
}
