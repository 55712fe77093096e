//! [`SwiGlu`].

use super::product::{PackedRows, ROW_BLOCK, Strips, cost, product, row_blocks};
use super::simd::{self, Kernel, Simd};
use crate::device::{CpuDevice, Worker};
use crate::isa::Isa;
use crate::pool::Split;
use puna_core::{DeviceError, ops::SwiGlu};

pub(crate) fn swiglu(device: &mut CpuDevice, op: &SwiGlu<'_>) -> Result<(), DeviceError> {
    const OP: &str = "SwiGlu";
    device.with_out(OP, &op.out, |d, out| {
        let (gate, up) = (d.weights.mat(OP, op.gate)?, d.weights.mat(OP, op.up)?);
        let x = d.buffers.rows(OP, "input rows", &op.x)?;
        let (n_rows, n_in, n_ff) = (op.x.n_rows, op.gate.n_in, op.gate.n_out);
        let (kernels, isa) = (&d.kernels, d.isa);
        let strips = Strips::new(op.gate, n_rows);
        d.team.prepare(|worker| {
            worker.tile.room::<f32>(2 * strips.tile(n_rows))?;
            gate.prepare(&mut worker.floats)?;
            up.prepare(&mut worker.floats)
        })?;
        let forms = [op.gate, op.up].map(|m| kernels.form(m.dtype, m.layout, n_rows));
        let packed = PackedRows::new(kernels, forms[0], x, n_in, &mut d.scratch.packed, &mut d.team)?;
        let packed_up = if forms[0] == forms[1] {
            packed
        } else {
            PackedRows::new(kernels, forms[1], x, n_in, &mut d.scratch.packed_hidden, &mut d.team)?
        };
        let out = Split::new(out);
        d.team.run(strips.len(), cost(op.gate, n_rows) + cost(op.up, n_rows), |task, worker| {
            let Worker { kernel, tile, floats, .. } = worker;
            let outs = strips.get(task);
            for rows in row_blocks(n_rows, ROW_BLOCK) {
                let (gates, ups) = tile.values_mut().split_at_mut(rows.len() * outs.len());
                let ups = &mut ups[..gates.len()];
                product(kernels, &gate, &packed.rows(rows.clone()), outs.clone(), (kernel, floats), gates);
                product(kernels, &up, &packed_up.rows(rows.clone()), outs.clone(), (kernel, floats), ups);
                let tiles = gates.chunks_exact(outs.len()).zip(ups.chunks_exact(outs.len()));
                for (r, (gates, ups)) in rows.zip(tiles) {
                    // SAFETY: only this task has the columns `outs`.
                    let out = unsafe { out.part(r * n_ff + outs.start..r * n_ff + outs.end) };
                    gated(isa, gates, ups, out);
                }
            }
        })
    })
}

/// `out = silu(gate) * up`, for slices of one length.
pub(super) fn gated(isa: Isa, gate: &[f32], up: &[f32], out: &mut [f32]) {
    simd::run(isa, Gated { gate, up, out });
}

struct Gated<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Gated<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut gates = self.gate.chunks_exact(S::N);
        let mut ups = self.up.chunks_exact(S::N);
        let mut outs = self.out.chunks_exact_mut(S::N);
        for ((gate, up), out) in (&mut gates).zip(&mut ups).zip(&mut outs) {
            // SAFETY: each chunk has `N` values.
            unsafe { s.store(out.as_mut_ptr(), silu_mul(s, s.load(gate.as_ptr()), s.load(up.as_ptr()))) }
        }
        let rest = outs.into_remainder();
        let (mut gate, mut up) = ([0.0; 16], [0.0; 16]);
        gate[..rest.len()].copy_from_slice(&gates.remainder()[..rest.len()]);
        up[..rest.len()].copy_from_slice(&ups.remainder()[..rest.len()]);
        // SAFETY: no instruction set has more than 16 floats in a vector.
        unsafe { s.store(up.as_mut_ptr(), silu_mul(s, s.load(gate.as_ptr()), s.load(up.as_ptr()))) }
        rest.copy_from_slice(&up[..rest.len()]);
    }
}

/// `gate / (1 + exp(-gate)) * up`.
#[inline(always)]
fn silu_mul<S: Simd>(s: S, gate: S::V, up: S::V) -> S::V {
    let exp = s.exp(s.mul(gate, s.splat(-1.0)));
    s.mul(s.div(gate, s.add(exp, s.splat(1.0))), up)
}
