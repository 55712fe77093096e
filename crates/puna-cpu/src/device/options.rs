//! What the host decides: threads, instruction set, precision of activations.

use crate::isa::Isa;
use crate::matmul::Activations;
use crate::pool::ThreadPool;
use alloc::sync::Arc;
use puna_core::DeviceError;

/// How a [`CpuDevice`](crate::CpuDevice) computes.
#[derive(Clone, Debug, Default)]
pub struct CpuOptions {
    /// The threads that compute.
    pub threads: Threads,
    /// The instruction set; `None` takes the best one that this machine has.
    pub isa: Option<Isa>,
    /// Whether kernels may quantise activations.
    pub activations: Activations,
}

/// The threads of a device.
#[derive(Clone, Debug)]
pub enum Threads {
    /// This many, the calling thread included; the device starts the others. Without the feature `std` it is always
    /// the calling thread alone.
    Count(usize),
    /// Those of a pool that other devices may use too.
    #[cfg(feature = "std")]
    Shared(Arc<ThreadPool>),
}

impl Default for Threads {
    /// The calling thread alone.
    fn default() -> Self {
        Threads::Count(1)
    }
}

impl Threads {
    #[cfg(feature = "std")]
    pub(super) fn pool(self) -> Result<Option<Arc<ThreadPool>>, DeviceError> {
        match self {
            Threads::Count(0 | 1) => Ok(None),
            Threads::Count(n) => match ThreadPool::new(n) {
                Ok(pool) => Ok(Some(Arc::new(pool))),
                Err(e) => Err(DeviceError::Lost(alloc::format!("a thread could not be started: {e}"))),
            },
            Threads::Shared(pool) => Ok(Some(pool)),
        }
    }

    #[cfg(not(feature = "std"))]
    pub(super) fn pool(self) -> Result<Option<Arc<ThreadPool>>, DeviceError> {
        let Threads::Count(_) = self;
        Ok(None)
    }
}
