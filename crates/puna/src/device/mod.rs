//! What computes: how a caller names it, what this machine has, and how it is opened.

#[cfg(feature = "gpu")]
mod compile;
#[cfg(feature = "gpu")]
mod gpu;

#[cfg(feature = "gpu")]
pub(crate) use compile::compile;
#[cfg(feature = "gpu")]
pub(crate) use gpu::Shared;

use crate::LoadOptions;
use crate::error::{Error, Lift};
use crate::options::Activations;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use puna_core::{Device, RefDevice};
use puna_cpu::isa::Isa;
use puna_cpu::{CpuDevice, CpuOptions};

/// What computes. As text: `cpu`, `reference`, `gpu`, `gpu:1`.
///
/// ```
/// let second: puna::DeviceKind = "gpu:1".parse()?;
/// assert_eq!(second, puna::DeviceKind::Gpu(Some(1)));
/// # Ok::<(), puna::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceKind {
    /// The processor, with the fastest kernels it has.
    #[default]
    Cpu,
    /// The scalar reference that defines every operation: exact, slow, the same bits on every machine.
    Reference,
    /// A GPU by its index in [`gpus`], or the one that the system takes for the fastest. Without the feature `gpu`,
    /// opening a model on it ends with [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    Gpu(Option<usize>),
}

impl FromStr for DeviceKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let index = text.strip_prefix("gpu:").map(str::parse);
        match (text, index) {
            ("cpu", _) => Ok(DeviceKind::Cpu),
            ("reference", _) => Ok(DeviceKind::Reference),
            ("gpu", _) => Ok(DeviceKind::Gpu(None)),
            (_, Some(Ok(index))) => Ok(DeviceKind::Gpu(Some(index))),
            _ => Err(Error::input(format_args!(
                "device: expected cpu, reference, gpu or gpu:INDEX, found {text}"
            ))),
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceKind::Cpu => f.write_str("cpu"),
            DeviceKind::Reference => f.write_str("reference"),
            DeviceKind::Gpu(None) => f.write_str("gpu"),
            DeviceKind::Gpu(Some(index)) => write!(f, "gpu:{index}"),
        }
    }
}

/// Facts about a GPU of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GpuInfo {
    /// What to give to [`DeviceKind::Gpu`].
    pub index: usize,
    /// Its own name.
    pub name: String,
    /// The interface it is reached through: `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// Whether it is a driver that computes on the processor.
    pub software: bool,
    /// The largest part of a buffer that a kernel can see, in bytes. Larger weights are multiplied in parts.
    pub max_binding: u64,
    /// The largest buffer, in bytes.
    pub max_buffer: u64,
    /// Threads of a workgroup at most.
    pub max_workgroup: u32,
    /// Bytes of memory that a workgroup shares.
    pub workgroup_bytes: u32,
    /// Smallest and largest number of threads that run in step, where kernels can use that.
    pub subgroup: Option<(u32, u32)>,
    /// Whether it computes in 16-bit floats.
    pub f16: bool,
}

/// The GPUs of this machine, in a stable order. None without the feature `gpu`.
///
/// What memory they have is not among the facts: the interfaces that puna reaches GPUs through do not tell.
pub fn gpus() -> Vec<GpuInfo> {
    #[cfg(feature = "gpu")]
    return gpu::list();
    #[cfg(not(feature = "gpu"))]
    Vec::new()
}

/// The instruction sets that puna has kernels for and this processor runs, the best last: names for
/// [`LoadOptions::isa`](crate::LoadOptions#structfield.isa), which tells what `"amx"` asks of the system; this asks it too.
pub fn instruction_sets() -> Vec<String> {
    Isa::available().iter().map(|isa| isa.name().to_string()).collect()
}

/// A device without weights.
pub(crate) struct Opened {
    pub(crate) device: Box<dyn Device>,
    /// Of a GPU.
    #[cfg(feature = "gpu")]
    pub(crate) compiler: Option<puna_gpu::Compiler>,
}

impl Opened {
    fn plain(device: impl Device + 'static) -> Self {
        Opened {
            device: Box::new(device),
            #[cfg(feature = "gpu")]
            compiler: None,
        }
    }
}

/// Opens one device as the options say.
pub(crate) fn open(kind: DeviceKind, options: &LoadOptions) -> Result<Opened, Error> {
    match kind {
        DeviceKind::Reference => Ok(Opened::plain(RefDevice::new())),
        DeviceKind::Cpu => {
            let activations = match options.activations.unwrap_or_default() {
                Activations::Auto => puna_cpu::matmul::Activations::Auto,
                Activations::F32 => puna_cpu::matmul::Activations::F32,
            };
            let isa = options.isa.as_deref().map(isa).transpose()?;
            let threads = puna_cpu::device::Threads::Count(threads(options)?);
            let options = CpuOptions { threads, isa, activations };
            Ok(Opened::plain(CpuDevice::new(options).lift()?))
        }
        #[cfg(feature = "gpu")]
        DeviceKind::Gpu(index) => {
            let (device, compiler) = gpu::open(index, options)?;
            Ok(Opened { device, compiler: Some(compiler) })
        }
        #[cfg(not(feature = "gpu"))]
        DeviceKind::Gpu(_) => {
            Err(Error::unsupported("device gpu: expected a build with the feature \"gpu\""))
        }
    }
}

/// More threads than any machine has are a mistake, and starting them would take the machine down.
const MAX_THREADS: usize = 4096;

fn threads(options: &LoadOptions) -> Result<usize, Error> {
    match options.threads {
        Some(n @ 1..=MAX_THREADS) => Ok(n),
        Some(n) => Err(Error::input(format_args!("threads: expected 1 to {MAX_THREADS}, found {n}"))),
        #[cfg(feature = "std")]
        None => Ok(std::thread::available_parallelism().map_or(1, |n| n.get())),
        #[cfg(not(feature = "std"))]
        None => Ok(1),
    }
}

fn isa(name: &str) -> Result<Isa, Error> {
    Isa::named(name).ok_or_else(|| {
        let names: Vec<&str> = Isa::available().iter().map(|isa| isa.name()).collect();
        Error::unsupported(format_args!(
            "instruction set: expected one of this machine's ({}), found {name}",
            names.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn devices_are_named_both_ways() {
        for name in ["cpu", "reference", "gpu", "gpu:0", "gpu:17"] {
            assert_eq!(name.parse::<DeviceKind>().unwrap().to_string(), name);
        }
        for bad in ["", "GPU", "gpu:", "gpu:-1", "gpu:x", "cuda", "cpu:0"] {
            let error = bad.parse::<DeviceKind>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadInput, "{bad}");
        }
    }

    #[test]
    fn the_processor_runs_portable_code_at_least() {
        assert_eq!(instruction_sets()[0], "scalar");
    }
}
