//! [`PixelShuffle`].

use crate::device::CpuDevice;
use puna_core::{DeviceError, ops::PixelShuffle};

pub(crate) fn pixel_shuffle(device: &mut CpuDevice, op: &PixelShuffle) -> Result<(), DeviceError> {
    const OP: &str = "PixelShuffle";
    device.with_out(OP, &op.out, |d, out| {
        let x = d.buffers.rows(OP, "input rows", &op.x)?;
        let (grid, factor, width) = (op.grid, op.factor, op.x.width);
        let side = grid / factor;
        d.team.chunks(out, op.out.width, x.len() as u64 / 8, |token, out, _| {
            let (tile, y, x2) = (token / (side * side), token % (side * side) / side, token % side);
            // The patches of one row of a square lie side by side.
            for (dy, out) in out.chunks_exact_mut((factor * width).max(1)).enumerate() {
                let row = tile * (grid * grid + 1) + (factor * y + dy) * grid + factor * x2;
                out.copy_from_slice(&x[row * width..(row + factor) * width]);
            }
        })
    })
}
