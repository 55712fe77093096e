//! [`Rope2d`].

use super::qk_prepare::rotate;
use crate::device::CpuDevice;
use puna_core::ops::{Pairs, Rope2d};
use puna_core::{DeviceError, Vector};

pub(crate) fn rope_2d(device: &mut CpuDevice, op: &Rope2d) -> Result<(), DeviceError> {
    const OP: &str = "Rope2d";
    device.with_out(OP, &op.x, |d, x| {
        if x.is_empty() || op.grid == 0 {
            return Ok(());
        }
        let (grid, width, Vector { len: n, .. }) = (op.grid, op.x.width, op.inv_freq);
        let inv_freq = d.weights.vector(OP, op.inv_freq)?;
        // Columns and rows are counted from 1.
        d.scratch.rotations_2d.prepare((op.inv_freq, 1), inv_freq, grid, &mut d.team)?;
        let table = d.scratch.rotations_2d.values();
        let (rows, cost) = (super::rows_per_task(width), x.len() as u64 / 2);
        d.team.chunks(x, rows * width, cost, |i, x, _| {
            for (r, row) in (i * rows..).zip(x.chunks_exact_mut(width)) {
                let patch = r % (grid * grid + 1);
                if patch == grid * grid {
                    continue;
                }
                let places =
                    [patch % grid, patch / grid].map(|p| table[p * 2 * n..(p + 1) * 2 * n].split_at(n));
                for half in row.chunks_exact_mut(4 * n) {
                    for (half, (cos, sin)) in half.chunks_exact_mut(2 * n).zip(places) {
                        rotate(half, cos, sin, Pairs::Interleaved);
                    }
                }
            }
        })
    })
}
