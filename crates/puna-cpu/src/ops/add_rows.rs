//! [`AddRows`].

use crate::device::CpuDevice;
use puna_core::{DeviceError, ops::AddRows};

pub(crate) fn add_rows(device: &mut CpuDevice, op: &AddRows) -> Result<(), DeviceError> {
    const OP: &str = "AddRows";
    device.with_out(OP, &op.x, |d, x| {
        let table = d.weights.vector(OP, op.table)?;
        d.team.prepare(|worker| table.prepare(&mut worker.floats))?;
        let cost = x.len() as u64 / 4;
        d.team.chunks(x, op.table.len, cost, |_, x, worker| {
            let table = table.get(&mut worker.floats);
            x.iter_mut().zip(table).for_each(|(x, t)| *x += t);
        })
    })
}
