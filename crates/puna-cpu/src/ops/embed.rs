//! [`EmbedRows`].

use crate::device::CpuDevice;
use puna_core::{DeviceError, ops::EmbedRows, quant::dequantize_row};

pub(crate) fn embed_rows(device: &mut CpuDevice, op: &EmbedRows<'_>) -> Result<(), DeviceError> {
    const OP: &str = "EmbedRows";
    device.with_out(OP, &op.out, |d, out| {
        let table = d.weights.mat(OP, op.table)?;
        d.team.prepare(|worker| table.prepare(&mut worker.floats))?;
        let row_bytes = op.table.row_bytes().unwrap_or(0);
        d.team.chunks(out, op.out.width, out.len() as u64, |r, out, worker| {
            let token = op.tokens[r] as usize;
            let start = op.table.offset + token * op.table.stride;
            // The row is inside the region and has whole blocks, which `check` and `Weights::mat` have proven.
            let read = dequantize_row(op.table.dtype, &table.bytes[start..start + row_bytes], out);
            debug_assert!(read.is_ok(), "{read:?}");
            if let Some(scale) = table.get(&mut worker.floats).scale {
                out.iter_mut().for_each(|v| *v *= scale[token]);
            }
        })
    })
}
