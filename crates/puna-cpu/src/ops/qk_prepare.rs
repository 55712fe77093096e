//! [`QkPrepare`].

use super::rms_norm::inverse_rms;
use super::simd::{self, Kernel, Simd};
use crate::buffers::Aligned;
use crate::device::{CpuDevice, Floats, Worker};
use crate::pool::Team;
use puna_core::ops::{Pairs, QkPrepare};
use puna_core::{DeviceError, Vector, reference};

pub(crate) fn qk_prepare(device: &mut CpuDevice, op: &QkPrepare) -> Result<(), DeviceError> {
    const OP: &str = "QkPrepare";
    device.with_out(OP, &op.x, |d, x| {
        if let Some(rope) = op.rope.filter(|_| !x.is_empty()) {
            let inv_freq = d.weights.vector(OP, rope.inv_freq)?;
            let rotations = &mut d.scratch.rotations;
            rotations.prepare((rope.inv_freq, op.pos), inv_freq, op.x.n_rows, &mut d.team)?;
        }
        let pairs = op.rope.map(|rope| (rope.pairs, 2 * rope.inv_freq.len));
        let (isa, width, n_rows) = (d.isa, op.x.width, super::rows_per_task(op.x.width));
        let table = &d.scratch.rotations.values;
        d.team.chunks(x, n_rows * width, x.len() as u64 / 2, |i, rows, _| {
            for (r, row) in (i * n_rows..).zip(rows.chunks_exact_mut(width.max(1))) {
                let rotation = pairs.map(|(pairs, dims)| (pairs, &table.values()[r * dims..(r + 1) * dims]));
                let temperature = op.temperature.map(|t| reference::temperature(op.pos + r as u64, t));
                simd::run(
                    isa,
                    Heads { row, head_dim: op.head_dim, rotation, norm_eps: op.norm_eps, temperature },
                );
            }
        })
    })
}

/// Cosines and sines of the rows' angles, kept from op to op: the queries and keys of all layers turn alike.
#[derive(Default)]
pub(crate) struct Rotations {
    /// The frequencies and the position of the first row; weights are immutable, so the handle says it all.
    key: Option<(Vector, u64)>,
    n_rows: usize,
    /// For each row the cosines of all pairs, then their sines.
    values: Aligned,
}

impl Rotations {
    /// For each row the cosines of all pairs, then their sines.
    pub(super) fn values(&self) -> &[f32] {
        self.values.values()
    }

    /// Makes the table for `n_rows` positions, the first and the frequencies being the key.
    pub(super) fn prepare(
        &mut self,
        key: (Vector, u64),
        inv_freq: Floats<'_>,
        n_rows: usize,
        team: &mut Team<Worker>,
    ) -> Result<(), DeviceError> {
        if self.key == Some(key) && n_rows <= self.n_rows {
            return Ok(());
        }
        self.key = None;
        let (n, pos) = (key.0.len, key.1);
        let values = self.values.room::<f32>(n_rows.saturating_mul(2 * n))?;
        team.prepare(|worker| inv_freq.prepare(&mut worker.floats))?;
        team.chunks(values, 2 * n, (n_rows * n) as u64 * 32, |r, row, worker| {
            let position = (pos + r as u64) as f32;
            let (cosines, sines) = row.split_at_mut(n);
            let inv_freq = inv_freq.get(&mut worker.floats);
            for ((cos, sin), freq) in cosines.iter_mut().zip(sines).zip(inv_freq) {
                // The angle is an F32 product by definition; its sine is taken in F64, exact however far it turns.
                let (s, c) = libm::sincos(f64::from(position * freq));
                (*sin, *cos) = (s as f32, c as f32);
            }
        })?;
        (self.key, self.n_rows) = (Some(key), n_rows);
        Ok(())
    }
}

/// All heads of one row.
struct Heads<'a> {
    row: &'a mut [f32],
    head_dim: usize,
    /// The order of pairs; cosines, then sines.
    rotation: Option<(Pairs, &'a [f32])>,
    norm_eps: Option<f32>,
    temperature: Option<f32>,
}

impl Kernel for Heads<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for head in self.row.chunks_exact_mut(self.head_dim) {
            if let Some((pairs, table)) = self.rotation {
                let (cos, sin) = table.split_at(table.len() / 2);
                rotate(head, cos, sin, pairs);
            }
            if let Some(eps) = self.norm_eps {
                let factor = inverse_rms(s, head, eps);
                head.iter_mut().for_each(|v| *v *= factor);
            }
            if let Some(factor) = self.temperature {
                head.iter_mut().for_each(|v| *v *= factor);
            }
        }
    }
}

#[inline(always)]
pub(super) fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32], pairs: Pairs) {
    let turn = |x: &mut f32, y: &mut f32, cos: f32, sin: f32| {
        (*x, *y) = (*x * cos - *y * sin, *x * sin + *y * cos);
    };
    match pairs {
        Pairs::Interleaved => {
            let (both, _) = head.as_chunks_mut::<2>();
            for (([x, y], cos), sin) in both.iter_mut().zip(cos).zip(sin) {
                turn(x, y, *cos, *sin);
            }
        }
        Pairs::Half => {
            let (first, second) = head.split_at_mut(cos.len());
            for (((x, y), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                turn(x, y, *cos, *sin);
            }
        }
    }
}
