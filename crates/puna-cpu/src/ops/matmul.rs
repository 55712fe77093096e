//! [`MatMul`].

use super::product::{PackedRows, ROW_BLOCK, Strips, cost, product, row_blocks};
use crate::device::{CpuDevice, Worker};
use crate::pool::Split;
use puna_core::{DeviceError, ops::MatMul};

pub(crate) fn matmul(device: &mut CpuDevice, op: &MatMul<'_>) -> Result<(), DeviceError> {
    const OP: &str = "MatMul";
    device.with_out(OP, &op.out, |d, out| {
        let w = d.weights.mat(OP, op.w)?;
        let bias = op.bias.map(|b| d.weights.vector(OP, b)).transpose()?;
        let x = d.buffers.rows(OP, "input rows", &op.x)?;
        let (n_rows, n_out, kernels) = (op.x.n_rows, op.w.n_out, &d.kernels);
        let strips = Strips::new(op.w, n_rows);
        d.team.prepare(|worker| {
            worker.tile.room::<f32>(strips.tile(n_rows))?;
            w.prepare(&mut worker.floats)?;
            bias.map_or(Ok(()), |b| b.prepare(&mut worker.floats))
        })?;
        let form = kernels.form(op.w.dtype, op.w.layout, n_rows);
        let packed = PackedRows::new(kernels, form, x, op.w.n_in, &mut d.scratch.packed, &mut d.team)?;
        let out = Split::new(out);
        d.team.run(strips.len(), cost(op.w, n_rows), |task, worker| {
            let Worker { kernel, tile, floats, .. } = worker;
            let outs = strips.get(task);
            for rows in row_blocks(n_rows, ROW_BLOCK) {
                let tile = &mut tile.values_mut()[..rows.len() * outs.len()];
                product(kernels, &w, &packed.rows(rows.clone()), outs.clone(), (kernel, floats), tile);
                for (r, tile) in rows.zip(tile.chunks_exact_mut(outs.len())) {
                    if let Some(bias) = bias {
                        let bias = bias.slice(outs.clone()).get(floats);
                        tile.iter_mut().zip(bias).for_each(|(v, b)| *v += b);
                    }
                    // SAFETY: only this task has the columns `outs`.
                    let out = unsafe { out.part(r * n_out + outs.start..r * n_out + outs.end) };
                    if op.add {
                        out.iter_mut().zip(tile).for_each(|(out, v)| *out += *v);
                    } else {
                        out.copy_from_slice(tile);
                    }
                }
            }
        })
    })
}
