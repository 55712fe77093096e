//! What a device can answer instead of a result.

use crate::{DType, handle::Elem};
use alloc::string::String;
use core::fmt;

/// Why a device could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceError {
    /// An allocation of this many bytes was refused. The device stays usable.
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// A dimension of an op does not fit its operands. Nothing was computed.
    Shape {
        /// The op's name.
        op: &'static str,
        /// Which dimension.
        what: &'static str,
        /// What the other operands ask for.
        expected: u64,
        /// What this operand has.
        found: u64,
    },
    /// A handle of an op names no live buffer or weight, or one of the wrong element type.
    Handle {
        /// The op's name.
        op: &'static str,
        /// Which operand.
        what: &'static str,
    },
    /// Two operands that must be different buffers are the same one.
    Aliased {
        /// The op's name.
        op: &'static str,
    },
    /// A value outside its range, such as a token id past the vocabulary.
    Range {
        /// The op's name.
        op: &'static str,
        /// Which value.
        what: &'static str,
        /// The first value that is too large.
        limit: u64,
        /// What was found.
        found: u64,
    },
    /// The device has no kernel for this format in this op.
    Unsupported {
        /// The op's name.
        op: &'static str,
        /// The weight format.
        dtype: DType,
    },
    /// The device does not compute this op at all.
    NoKernel {
        /// The op's name.
        op: &'static str,
        /// The kind of device.
        device: &'static str,
    },
    /// The driver refused a kernel. Other ops may still work.
    Kernel {
        /// The kernel's name.
        kernel: String,
        /// What the driver says.
        why: String,
    },
    /// Somebody asked to stop. Nothing is kept of what was begun.
    Cancelled,
    /// The device was lost or its driver failed; it must be opened again.
    Lost(String),
}

impl DeviceError {
    /// An allocation of `len` elements that was refused.
    pub fn out_of_memory(elem: Elem, len: usize) -> Self {
        DeviceError::OutOfMemory { bytes: (len as u64).saturating_mul(elem.bytes() as u64) }
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceError::OutOfMemory { bytes } => write!(f, "out of memory: {bytes} bytes were refused"),
            DeviceError::Shape { op, what, expected, found } => {
                write!(f, "{op}: {what} is {found}, expected {expected}")
            }
            DeviceError::Handle { op, what } => write!(f, "{op}: {what} is not a buffer of this device"),
            DeviceError::Aliased { op } => write!(f, "{op}: input and output are the same buffer"),
            DeviceError::Range { op, what, limit, found } => {
                write!(f, "{op}: {what} is {found}, expected less than {limit}")
            }
            DeviceError::Unsupported { op, dtype } => write!(f, "{op}: no kernel for weights in {dtype}"),
            DeviceError::NoKernel { op, device } => write!(f, "{op}: the {device} does not compute this op"),
            DeviceError::Kernel { kernel, why } => write!(f, "kernel {kernel} was refused: {why}"),
            DeviceError::Cancelled => f.write_str("cancelled"),
            DeviceError::Lost(why) => write!(f, "device lost: {why}"),
        }
    }
}

impl core::error::Error for DeviceError {}
