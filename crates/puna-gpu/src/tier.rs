//! Which tier of kernels a device uses: what the adapter offers, tried before it is trusted.

use crate::GpuDevice;
use crate::context::Context;
use puna_core::ops::MatMul;
use puna_core::quant::quantize_row;
use puna_core::{DType, Device, DeviceError, Elem, Mat, Op, RefDevice, Region, Rows};
use puna_shaders::Tier;

/// The tier a device uses, and those that were tried before it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TierReport {
    /// In use.
    pub used: Tier,
    /// Not in use, and why.
    pub rejected: Vec<(Tier, String)>,
}

/// What to try, the best first.
pub(crate) fn candidates(ctx: &Context, asked: Option<Tier>) -> Vec<Tier> {
    let order = match (asked, ctx.software) {
        (Some(tier), _) => vec![tier],
        (None, true) => vec![Tier::Lanes, Tier::Thread],
        (None, false) => vec![Tier::Subgroup, Tier::Shared, Tier::Thread],
    };
    let subgroups = ctx.device.features().contains(wgpu::Features::SUBGROUP);
    // A tier that was asked for is tried all the same: the failure says what is missing.
    order.into_iter().filter(|tier| asked.is_some() || !tier.subgroups() || subgroups).collect()
}

/// The tier in a few words.
pub(crate) fn described(tier: Tier) -> &'static str {
    match tier {
        Tier::Thread => "wgsl, several outputs a thread, f32",
        Tier::Lanes => "wgsl, several outputs a thread, activations shared by subgroups, f32",
        Tier::Shared => "wgsl, an output shared by a workgroup, f32",
        Tier::Subgroup => "wgsl, an output shared by a workgroup, subgroup sums, f32",
        _ => "wgsl",
    }
}

/// A row and a tile of rows by a small matrix, held against the scalar reference.
pub(crate) fn self_test(device: &mut GpuDevice) -> Result<(), String> {
    // No multiple of any tile. The row is longer than a step of a workgroup; little enough for the smallest buffers.
    const N_OUT: usize = 67;
    let wave = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 50.0;
    let dtype = DType::Q8_0;
    let mut reference = RefDevice::new();
    for (rows, n_in) in [(1, 544), (3, 288)] {
        let row_bytes = dtype.row_bytes(n_in).unwrap_or(1);
        let mut bytes = vec![0; row_bytes * N_OUT];
        for (r, row) in bytes.chunks_exact_mut(row_bytes).enumerate() {
            let values: Vec<f32> = (0..n_in).map(|i| wave(i * 3 + r * 7)).collect();
            quantize_row(dtype, &values, None, row).map_err(|e| e.to_string())?;
        }
        let region = Region::from_vec(bytes);
        let x: Vec<f32> = (0..n_in * rows).map(|i| wave(i * 5 + 1)).collect();
        let run = |device: &mut dyn Device| -> Result<Vec<f32>, DeviceError> {
            let w = Mat::plain(device.load(&region)?, dtype, N_OUT, n_in);
            let (from, to) = (device.alloc(Elem::F32, x.len())?, device.alloc(Elem::F32, rows * N_OUT)?);
            let (from, to) = (Rows::new(from, rows, n_in), Rows::new(to, rows, N_OUT));
            device.write(from.buf, 0, &x)?;
            device.issue(&Op::MatMul(MatMul { x: from, w: &w, bias: None, out: to, add: false }))?;
            let mut values = vec![0.0; to.len()];
            device.read(&to, &mut values).map(|()| values)
        };
        let found = run(device).map_err(|e| e.to_string())?;
        let expected = run(&mut reference).map_err(|e| e.to_string())?;
        let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
            let off = (f - e).abs();
            // Anything but rounding is far beyond this.
            if off.is_nan() || off > 1e-4 * largest {
                return Err(format!("{f} instead of {e} at output {i} of a product of {rows} rows"));
            }
        }
    }
    Ok(())
}
