//! [`TopK`].

use crate::device::CpuDevice;
use puna_core::{DeviceError, ops::TopK};

pub(crate) fn top_k(device: &mut CpuDevice, op: &TopK) -> Result<(), DeviceError> {
    const OP: &str = "TopK";
    device.with_out(OP, &op.out, |d, out| {
        let x = d.buffers.rows(OP, "input rows", &op.x)?;
        let (k, width, cost) = (op.k, op.x.width, x.len() as u64 * 5);
        d.team.chunks(out, op.out.width, cost, |row, out, _| one(&x[row * width..(row + 1) * width], k, out))
    })
}

/// One row. The `k` best so far stay in order in `out`; few of a long row get in.
fn one(x: &[f32], k: usize, out: &mut [f32]) {
    let (values, rest) = out.split_at_mut(k);
    let (ids, rest) = rest.split_at_mut(k);
    let (mut n, mut floor, mut bad, mut max) = (0, f32::NEG_INFINITY, 0, f32::NEG_INFINITY);
    for (i, &v) in x.iter().enumerate() {
        bad += usize::from(!v.is_finite());
        max = max.max(v);
        if n == k && (v <= floor || k == 0) {
            continue; // an equal value at a higher index loses too
        }
        let at = values[..n].partition_point(|&other| other >= v);
        n = k.min(n + 1);
        values[at..n].rotate_right(1);
        ids[at..n].rotate_right(1);
        if let (Some(value), Some(id)) = (values.get_mut(at), ids.get_mut(at)) {
            (*value, *id) = (v, i as f32);
        }
        floor = values.last().copied().unwrap_or(floor);
    }
    let sum: f64 = x.iter().map(|&v| f64::from(libm::expf(v - max))).sum();
    rest.copy_from_slice(&[(f64::from(max) + libm::log(sum)) as f32, bad as f32]);
}
