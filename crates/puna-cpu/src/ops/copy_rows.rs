//! [`CopyRows`].

use crate::device::CpuDevice;
use puna_core::{DeviceError, ops::CopyRows};

pub(crate) fn copy_rows(device: &mut CpuDevice, op: &CopyRows) -> Result<(), DeviceError> {
    const OP: &str = "CopyRows";
    device.with_out(OP, &op.to, |d, to| {
        let from = d.buffers.rows(OP, "input rows", &op.from)?;
        match op.add {
            true => to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
            false => to.copy_from_slice(from),
        }
        Ok(())
    })
}
