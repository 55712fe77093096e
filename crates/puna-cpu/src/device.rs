//! [`CpuDevice`]: every op of `puna-core` on the processor.

mod options;
mod weights;

pub use options::{CpuOptions, Threads};
pub(crate) use weights::{Floats, WeightMat, Weights};

use crate::buffers::{Aligned, Buffers, range};
use crate::isa::Isa;
use crate::matmul::{self, Activations, Kernels};
use crate::ops;
use crate::pool::Team;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use puna_core::{Buf, DType, Device, DeviceError, DeviceInfo, Elem, Op, Region, Rows, Weight};

/// Computes ops on the processor, with the kernels of the instruction set that was found or asked for.
///
/// Weights are used where they are: [`load`](Device::load) keeps the region and copies nothing. Ops are computed before
/// [`issue`](Device::issue) returns. Results do not depend on the number of threads: an op is cut into the same tasks
/// whatever their number, and what they computed is put together in a fixed order.
///
/// ```
/// use puna_core::{Device, Elem, Rows};
/// use puna_cpu::{CpuDevice, CpuOptions, Threads};
///
/// let mut device = CpuDevice::new(CpuOptions { threads: Threads::Count(2), ..CpuOptions::default() })?;
/// let buf = device.alloc(Elem::F32, 3)?;
/// device.write(buf, 0, &[1.0, 2.0, 3.0])?;
/// let mut fork = device.fork()?;
/// fork.write(buf, 0, &[9.0])?;
/// let mut values = [0.0; 3];
/// device.read(&Rows::new(buf, 1, 3), &mut values)?;
/// assert_eq!(values, [1.0, 2.0, 3.0]);
/// # Ok::<(), puna_core::DeviceError>(())
/// ```
pub struct CpuDevice {
    pub(crate) isa: Isa,
    /// Kernels with the activations the caller asked for, and those that keep them in F32.
    pub(crate) kernels: Kernels,
    pub(crate) exact: Kernels,
    pub(crate) weights: Weights,
    pub(crate) buffers: Buffers,
    pub(crate) team: Team<Worker>,
    pub(crate) scratch: Scratch,
}

/// Scratch memory of one worker. It grows to what the largest op needs and stays.
pub(crate) struct Worker {
    pub(crate) kernel: matmul::Scratch,
    /// Results of matrix products before they go where they belong.
    pub(crate) tile: Aligned,
    /// Weight vectors that had to be decoded.
    pub(crate) floats: Aligned,
    pub(crate) attend: Aligned,
}

impl Worker {
    fn new() -> Result<Self, DeviceError> {
        let refused = |_| DeviceError::OutOfMemory { bytes: size_of::<matmul::Scratch>() as u64 };
        let kernel = matmul::Scratch::new().map_err(refused)?;
        Ok(Self { kernel, tile: Aligned::default(), floats: Aligned::default(), attend: Aligned::default() })
    }
}

/// Scratch memory of the op that runs.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Activations as a kernel wants them, and those of an expert's second product.
    pub(crate) packed: Aligned,
    pub(crate) packed_hidden: Aligned,
    /// Router logits, experts' hidden rows and outputs.
    pub(crate) rows: Aligned,
    pub(crate) expert_out: Aligned,
    pub(crate) experts: ops::Grouping,
    pub(crate) rotations: ops::Rotations,
    pub(crate) rotations_2d: ops::Rotations,
    pub(crate) attend: Aligned,
}

impl CpuDevice {
    /// A device that holds nothing. Starts threads if `options` ask for a number of them.
    ///
    /// # Errors
    /// [`DeviceError::Lost`] if the system refuses to start a thread.
    pub fn new(options: CpuOptions) -> Result<Self, DeviceError> {
        let isa = options.isa.unwrap_or_else(Isa::detect);
        Ok(Self {
            isa,
            kernels: Kernels::new(isa, options.activations),
            exact: Kernels::new(isa, Activations::F32),
            weights: Weights::default(),
            buffers: Buffers::default(),
            team: Team::new(options.threads.pool()?, Worker::new)?,
            scratch: Scratch::default(),
        })
    }

    /// Runs `f` on the elements of `out`, which is taken from the table meanwhile so that other buffers can be read.
    pub(crate) fn with_out(
        &mut self,
        op: &'static str,
        out: &Rows,
        f: impl FnOnce(&mut Self, &mut [f32]) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let mut storage = self.buffers.take(op, "output rows", out.buf)?;
        let result = match storage.f32s_mut() {
            Ok(values) => match values.zip(range(out)).and_then(|(v, range)| v.get_mut(range)) {
                Some(values) => f(self, values),
                None => Err(DeviceError::Handle { op, what: "output rows" }),
            },
            Err(e) => Err(e),
        };
        self.buffers.put(out.buf, storage);
        result
    }
}

impl Device for CpuDevice {
    fn info(&self) -> DeviceInfo {
        let threads = match self.team.len() {
            1 => String::from("1 thread"),
            n => format!("{n} threads"),
        };
        let mut info = DeviceInfo::default();
        info.name = format!("cpu {}, {threads}", self.isa.name());
        info.kernels = DType::ALL.map(|t| (t, self.kernels.name(t))).to_vec();
        info
    }

    fn load(&mut self, region: &Region) -> Result<Weight, DeviceError> {
        self.weights.load(region)
    }

    fn alloc(&mut self, elem: Elem, len: usize) -> Result<Buf, DeviceError> {
        self.buffers.alloc(elem, len)
    }

    fn free(&mut self, buf: Buf) {
        self.buffers.free(buf);
    }

    fn write(&mut self, to: Buf, at: usize, values: &[f32]) -> Result<(), DeviceError> {
        let rows = Rows { buf: to, offset: at, n_rows: 1, width: values.len() };
        self.with_out("write", &rows, |_, out| {
            out.copy_from_slice(values);
            Ok(())
        })
    }

    fn issue(&mut self, op: &Op<'_>) -> Result<(), DeviceError> {
        op.check()?;
        match op {
            Op::EmbedRows(op) => ops::embed_rows(self, op),
            Op::RmsNorm(op) => ops::rms_norm(self, op),
            Op::MatMul(op) => ops::matmul(self, op),
            Op::QkPrepare(op) => ops::qk_prepare(self, op),
            Op::KvAppend(op) => ops::kv_append(self, op),
            Op::Attend(op) => ops::attend(self, op),
            Op::SwiGlu(op) => ops::swiglu(self, op),
            Op::Route(op) => ops::route(self, op),
            Op::ExpertFfn(op) => ops::expert_ffn(self, op),
            Op::LayerNorm(op) => ops::layer_norm(self, op),
            Op::Gelu(op) => ops::gelu(self, op),
            Op::AddRows(op) => ops::add_rows(self, op),
            Op::Rope2d(op) => ops::rope_2d(self, op),
            Op::AttendAll(op) => ops::attend_all(self, op),
            Op::PixelShuffle(op) => ops::pixel_shuffle(self, op),
            Op::CopyRows(op) => ops::copy_rows(self, op),
            Op::TopK(op) => ops::top_k(self, op),
        }
    }

    fn read(&mut self, from: &Rows, into: &mut [f32]) -> Result<(), DeviceError> {
        let values = self.buffers.rows("read", "input rows", from)?;
        if values.len() != into.len() {
            let (expected, found) = (values.len() as u64, into.len() as u64);
            return Err(DeviceError::Shape { op: "read", what: "host length", expected, found });
        }
        into.copy_from_slice(values);
        Ok(())
    }

    fn fork(&self) -> Result<Box<dyn Device>, DeviceError> {
        Ok(Box::new(Self {
            isa: self.isa,
            kernels: self.kernels,
            exact: self.exact,
            weights: self.weights.clone(),
            buffers: self.buffers.clone(),
            team: self.team.sibling(Worker::new)?,
            scratch: Scratch::default(),
        }))
    }
}

impl core::fmt::Debug for CpuDevice {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.info().name)
    }
}
