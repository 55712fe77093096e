//! The contract between the model and what computes it.

use crate::{Buf, DType, DeviceError, Elem, Op, Region, Rows, Weight};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// Number of a device among several behind one [`Device`]. A device by itself is every place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub u16);

/// Something that holds weights and buffers and computes [`Op`]s on them.
///
/// # Contract
///
/// - Ops take effect in the order they are issued. A CPU computes at once; a GPU may record and run later, but
///   before the next [`read`](Device::read) returns.
/// - An op means what [`reference`](mod@crate::reference) computes, within the tolerance stated in the conformance tests.
/// - Results do not depend on the number of threads, nor on how rows were split into ops, beyond those tolerances;
///   the same op on the same device with the same data gives the same bits.
/// - A failed call changes nothing but the op's own outputs, and the device stays usable unless the error is
///   [`DeviceError::Lost`].
/// - `issue` does not allocate on the heap once every buffer size has been seen.
pub trait Device: Send + Sync {
    /// What this device is and which kernels it chose.
    fn info(&self) -> DeviceInfo;

    /// Whether to [`read`](Device::read) this buffer means to wait for another memory: then an op that spares the read of
    /// many values is worth issuing.
    fn far(&self, _buf: Buf) -> bool {
        false
    }

    /// Makes `region` available to ops. A CPU keeps the region as it is; a GPU uploads it.
    /// Weights are immutable and shared by all forks made afterwards.
    fn load(&mut self, region: &Region) -> Result<Weight, DeviceError>;

    /// A new buffer of `len` zeros.
    fn alloc(&mut self, elem: Elem, len: usize) -> Result<Buf, DeviceError>;

    /// Gives a buffer back. Its handle must not be used again; handles may be reused by later allocations.
    fn free(&mut self, buf: Buf);

    /// Copies `values` into the F32 buffer `to`, from element `at` on. In order with the ops before and after it.
    fn write(&mut self, to: Buf, at: usize, values: &[f32]) -> Result<(), DeviceError>;

    /// Computes an op, or records it to be computed before the next read.
    fn issue(&mut self, op: &Op<'_>) -> Result<(), DeviceError>;

    /// Copies F32 rows to the host; `into` holds exactly `from.len()` values. The only call that waits.
    fn read(&mut self, from: &Rows, into: &mut [f32]) -> Result<(), DeviceError>;

    /// As [`load`](Self::load), at one of several places.
    fn load_at(&mut self, _place: Place, region: &Region) -> Result<Weight, DeviceError> {
        self.load(region)
    }

    /// As [`load_at`](Self::load_at), in steps of a few MiB where bytes are copied: between them `step` hears how many
    /// bytes have been, and says whether to go on. If not, the load ends with [`DeviceError::Cancelled`].
    fn load_in_steps(
        &mut self,
        place: Place,
        region: &Region,
        _step: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Weight, DeviceError> {
        self.load_at(place, region)
    }

    /// As [`load_in_steps`](Self::load_in_steps), of several regions that become one, each directly after the one before.
    /// `None` from a device that gains nothing by it, as from one that does not copy: then they are loaded one by one.
    fn load_together(
        &mut self,
        _place: Place,
        _regions: &[Region],
        _step: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<Weight>, DeviceError> {
        Ok(None)
    }

    /// As [`alloc`](Self::alloc), at one of several places.
    fn alloc_at(&mut self, _place: Place, elem: Elem, len: usize) -> Result<Buf, DeviceError> {
        self.alloc(elem, len)
    }

    /// Hands over what is recorded, so that it runs while the caller goes on. Waits for nothing; a device that computes
    /// at once has nothing to do.
    fn flush(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    /// What was done since the device was opened or forked, as names and numbers that only grow: `dispatches`, `submits`,
    /// `reads`, … Empty where nothing is counted.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Begins to measure how long ops take, or ends it, and says whether that can be done. What is measured takes longer
    /// in all.
    fn profile(&mut self, _on: bool) -> Result<bool, DeviceError> {
        Ok(false)
    }

    /// What was measured since [`profile`](Self::profile) was switched on, the longest first.
    fn times(&mut self) -> Result<Vec<OpTime>, DeviceError> {
        Ok(Vec::new())
    }

    /// An independent device with the same weights and a copy of every buffer under the same handles.
    /// Buffers are shared until one side writes to them.
    fn fork(&self) -> Result<Box<dyn Device>, DeviceError>;
}

/// How long a device's kernel took for an op, added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpTime {
    /// The op's name.
    pub op: &'static str,
    /// The kernel's own name.
    pub kernel: String,
    /// How often it ran.
    pub runs: u64,
    /// Nanoseconds of all runs.
    pub nanoseconds: u64,
}

/// Facts about a device, for reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// What it is: "cpu avx2, 2 threads", an adapter's name, …
    pub name: String,
    /// The kernel that multiplies each weight format.
    pub kernels: Vec<(DType, &'static str)>,
}
