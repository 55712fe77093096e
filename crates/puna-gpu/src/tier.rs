//! Which tier of kernels a device uses: what the adapter offers, tried before it is trusted.

use crate::GpuDevice;
use crate::context::Context;
use crate::tiles::{Chosen, Tiles};
use puna_core::ops::{Attend, KvAppend, MatMul, Pairs, QkPrepare, RmsNorm, Rope, Window};
use puna_core::quant::quantize_row;
use puna_core::{DType, Device, DeviceError, Elem, KvView, Mat, Op, RefDevice, Region, Rows, Vector};
use puna_shaders::{Narrow, Tier};
use std::time::{Duration, Instant};

/// The tier a device uses, and those that were tried before it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TierReport {
    /// In use.
    pub used: Tier,
    /// Not in use, and why.
    pub rejected: Vec<(Tier, String)>,
    /// What many rows are multiplied in by weights of block formats.
    pub blocks: Tiles,
    /// What many rows are multiplied in by other weights.
    pub plain: Tiles,
    /// What they are not multiplied in, and why.
    pub passed_over: Vec<(Tiles, String)>,
}

impl TierReport {
    pub(crate) fn new(used: Tier, rejected: Vec<(Tier, String)>, chosen: Chosen) -> Self {
        let Chosen { blocks, plain, passed_over } = chosen;
        TierReport { used, rejected, blocks, plain, passed_over }
    }
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

/// The tier in a few words, and what tiles of rows are multiplied in.
pub(crate) fn described(tier: Tier, tiles: Option<Narrow>) -> &'static str {
    use Narrow::{Half, Matrix8, Matrix16, Packed};
    match (tier, tiles) {
        (Tier::Thread, _) => "wgsl, several outputs a thread, f32",
        (Tier::Lanes, _) => "wgsl, several outputs a thread, activations shared by subgroups, f32",
        (Tier::Shared, None) => "wgsl, an output shared by a workgroup, f32",
        (Tier::Shared, Some(Packed)) => {
            "wgsl, an output shared by a workgroup, f32; many rows in packed int8"
        }
        (Tier::Shared, Some(Half)) => "wgsl, an output shared by a workgroup, f32; many rows in f16",
        (Tier::Shared, Some(Matrix8 | Matrix16)) => {
            "wgsl, an output shared by a workgroup, f32; many rows in cooperative f16 matrices"
        }
        (Tier::Subgroup, None) => "wgsl, an output shared by a workgroup, subgroup sums, f32",
        (Tier::Subgroup, Some(Packed)) => {
            "wgsl, an output shared by a workgroup, subgroup sums, f32; many rows in packed int8"
        }
        (Tier::Subgroup, Some(Half)) => {
            "wgsl, an output shared by a workgroup, subgroup sums, f32; many rows in f16"
        }
        (Tier::Subgroup, Some(Matrix8 | Matrix16)) => {
            "wgsl, an output shared by a workgroup, subgroup sums, f32; many rows in cooperative f16 matrices"
        }
        _ => "wgsl",
    }
}

/// A row and a tile of rows by a small matrix and, where the tier has kernels of its own for those, a norm, heads that turn
/// and attention, all held against the scalar reference.
pub(crate) fn self_test(device: &mut GpuDevice) -> Result<(), String> {
    let mut reference = RefDevice::new();
    for (rows, n_in) in [(1, 544), (3, 288)] {
        let (found, expected) =
            (product(device, rows, n_in, wave), product(&mut reference, rows, n_in, wave));
        agree(found, expected, ROUNDING, &format!("a product of {rows} rows"))?;
    }
    if device.tiers().used == Tier::Lanes {
        agree(attention(device), attention(&mut reference), ROUNDING, "attention")?;
    }
    Ok(())
}

/// Tiles of rows by a small matrix in what the device multiplies them in, held against the scalar reference.
pub(crate) fn narrow_test(device: &mut GpuDevice, how: Narrow) -> Result<(), String> {
    // Multiples of the step of 32 values are not rounded to bytes, nor are any to 16-bit floats; nine blocks end within a step
    // of the kernels.
    let exact = |i: usize| if i.is_multiple_of(32) { 127.0 } else { (i * 37 % 255) as f32 - 127.0 };
    let within = if how == Narrow::Packed { ROUNDING } else { HALF_ROUNDING };
    let expected = product(&mut RefDevice::new(), 5, 288, exact);
    agree(product(device, 5, 288, exact), expected, within, "a product of 5 rows")
}

/// The least time of three that a product of many rows takes.
pub(crate) fn time(device: &mut GpuDevice) -> Result<Duration, DeviceError> {
    // A driver that computes on a CPU need not take long to say that it is slow.
    let (rows, n, times) = if device.software() { (32, 256, 1) } else { (256, 1024, 8) };
    let dtype = DType::Q8_0;
    // Scales of one, and any bytes.
    let block = |b: usize| [0u8, 0x3c].into_iter().chain((0..32).map(move |i| (b * 7 + i * 3) as u8));
    let bytes = (0..n * n / 32).flat_map(block).collect();
    let w = Mat::plain(device.load(&Region::from_vec(bytes))?, dtype, n, n);
    let (x, out) = (waves(device, 1, rows, n)?, waves(device, 2, rows, n)?);
    let mut least = Duration::MAX;
    // The first run compiles.
    for _ in 0..4 {
        let start = Instant::now();
        for _ in 0..times {
            device.issue(&Op::MatMul(MatMul { x, w: &w, bias: None, out, add: false }))?;
        }
        device.read(&Rows { n_rows: 1, ..out }, &mut vec![0.0; n])?;
        least = least.min(start.elapsed());
    }
    Ok(least)
}

/// Anything but rounding to F32 is far beyond this, of the largest magnitude.
const ROUNDING: f32 = 1e-4;
/// The same of values and of each step of a sum of four products that are rounded to 11 bits. WGSL lets a device round up or
/// down as it likes, by at most 9.8e-4, and one that computes on a CPU rounds always to zero: 3e-3 were seen.
const HALF_ROUNDING: f32 = 1e-2;

/// An error if the device's values are not the reference's, but for rounding.
fn agree(
    found: Result<Vec<f32>, DeviceError>,
    expected: Result<Vec<f32>, DeviceError>,
    within: f32,
    what: &str,
) -> Result<(), String> {
    let (found, expected) = (found.map_err(|e| e.to_string())?, expected.map_err(|e| e.to_string())?);
    let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
        let off = (f - e).abs();
        if off.is_nan() || off > within * largest {
            return Err(format!("{f} instead of {e} at output {i} of {what}"));
        }
    }
    Ok(())
}

/// Numbers from -1 to 1.
fn wave(i: usize) -> f32 {
    ((i * 37 % 101) as f32 - 50.0) / 50.0
}

/// New rows of such numbers, beginning with number `from`.
fn waves(device: &mut dyn Device, from: usize, n_rows: usize, width: usize) -> Result<Rows, DeviceError> {
    let rows = Rows::new(device.alloc(Elem::F32, n_rows * width)?, n_rows, width);
    let values: Vec<f32> = (0..rows.len()).map(|i| wave(i * 5 + from)).collect();
    device.write(rows.buf, 0, &values)?;
    Ok(rows)
}

fn read(device: &mut dyn Device, rows: &Rows) -> Result<Vec<f32>, DeviceError> {
    let mut values = vec![0.0; rows.len()];
    device.read(rows, &mut values).map(|()| values)
}

fn product(
    device: &mut dyn Device,
    rows: usize,
    n_in: usize,
    value: impl Fn(usize) -> f32,
) -> Result<Vec<f32>, DeviceError> {
    // No multiple of any tile. The row is longer than a step of a workgroup; little enough for the smallest buffers.
    const N_OUT: usize = 67;
    let dtype = DType::Q8_0;
    let row_bytes = dtype.row_bytes(n_in).unwrap_or(1);
    let mut bytes = vec![0; row_bytes * N_OUT];
    for (r, row) in bytes.chunks_exact_mut(row_bytes).enumerate() {
        let values: Vec<f32> = (0..n_in).map(|i| wave(i * 3 + r * 7)).collect();
        let shape = |_| DeviceError::Handle { op: "self-test", what: "quantised row" };
        quantize_row(dtype, &values, None, row).map_err(shape)?;
    }
    let w = Mat::plain(device.load(&Region::from_vec(bytes))?, dtype, N_OUT, n_in);
    let x = waves(device, 1, rows, n_in)?;
    device.write(x.buf, 0, &(0..x.len()).map(value).collect::<Vec<_>>())?;
    let out = waves(device, 2, rows, N_OUT)?;
    device.issue(&Op::MatMul(MatMul { x, w: &w, bias: None, out, add: false }))?;
    read(device, &out)
}

/// 21 queries of three heads a key/value head, normed, turned and attended from a cache of 13 keys.
fn attention(device: &mut dyn Device) -> Result<Vec<f32>, DeviceError> {
    const KEYS: usize = 13;
    const QUERIES: usize = 7;
    let (elem, head_dim) = (Elem::F16, 32);
    let width = 3 * head_dim;
    let ones: Vec<u8> = (0..width).flat_map(|i| (1.0 + wave(i) / 4.0).to_le_bytes()).collect();
    let weight = Vector { weight: device.load(&Region::from_vec(ones))?, offset: 0, len: width };
    let x = waves(device, 3, QUERIES, width)?;
    let q = waves(device, 4, QUERIES, width)?;
    device.issue(&Op::RmsNorm(RmsNorm { x, weight, eps: 1e-5, out: q }))?;
    let pos = (KEYS - QUERIES) as u64;
    let rope = Some(Rope { inv_freq: Vector { len: head_dim / 2, ..weight }, pairs: Pairs::Half });
    let prepare = QkPrepare { x: q, head_dim, pos, rope, norm_eps: Some(1e-5), temperature: None };
    device.issue(&Op::QkPrepare(prepare))?;
    let (k, v) = (waves(device, 5, KEYS, head_dim)?, waves(device, 6, KEYS, head_dim)?);
    let blocks = [device.alloc(elem, 2 * KEYS * head_dim)?];
    let kv = KvView { blocks: &blocks, block_tokens: KEYS, first: 0, n_kv_heads: 1, head_dim, elem };
    device.issue(&Op::KvAppend(KvAppend { k, v, kv: &kv, pos: 0 }))?;
    let out = waves(device, 7, QUERIES, width)?;
    device.issue(&Op::Attend(Attend { q, kv: &kv, out, pos, scale: 0.5, window: Window::Full }))?;
    read(device, &out)
}
