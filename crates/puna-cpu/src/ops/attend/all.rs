//! [`AttendAll`]: attention within groups of rows, with the kernels of the cached kind.

use super::step::{self, KEYS, State, Step};
use super::{TILE, Vectors};
use crate::device::CpuDevice;
use crate::ops::simd;
use crate::pool::Split;
use puna_core::{DeviceError, ops::AttendAll};

pub(crate) fn attend_all(device: &mut CpuDevice, op: &AttendAll) -> Result<(), DeviceError> {
    const OP: &str = "AttendAll";
    device.with_out(OP, &op.out, |d, out| {
        let rows = |rows| d.buffers.rows(OP, "input rows", rows);
        let (q, kv) = (rows(&op.q)?, [rows(&op.k)?, rows(&op.v)?]);
        if out.is_empty() {
            return Ok(());
        }
        let (n, dim, width) = (op.group, op.head_dim, op.q.width);
        let (heads, groups) = (width / dim, op.q.n_rows / n);
        // Keys and values of each head one after the other: [2][groups][heads][n][dim].
        let block = n * dim;
        let packed = d.scratch.attend.room::<f32>(q.len().saturating_mul(2))?;
        d.team.chunks(packed, block, q.len() as u64 / 4, |i, packed, _| {
            let (part, first, column) = (i / (groups * heads), i / heads % groups * n, i % heads * dim);
            for (row, packed) in (first..).zip(packed.chunks_exact_mut(dim)) {
                packed.copy_from_slice(&kv[part][row * width + column..][..dim]);
            }
        })?;
        let (keys, values) = packed.split_at(q.len());

        let (tiles, padded, isa) = (n.div_ceil(TILE), dim.next_multiple_of(step::PAD), d.isa);
        d.team.prepare(|worker| worker.attend.room::<f32>(step::scratch_len(TILE, padded)).map(|_| ()))?;
        let (out, cost) = (Split::new(out), (q.len() as u64).saturating_mul(n as u64) / 32);
        d.team.run(groups * heads * tiles, cost, |task, worker| {
            let (pair, tile) = (task / tiles, task % tiles);
            let (first, column) = (pair / heads * n, pair % heads * dim);
            let rows = tile * TILE..n.min((tile + 1) * TILE);
            let starts = rows.clone().map(|row| (first + row) * width + column);
            let mut state = State::new(worker.attend.values_mut(), TILE, padded);
            state.load_queries(q, rows.len(), starts.clone(), dim, op.scale);
            let [keys, values] = [keys, values].map(|all| &all[pair * block..(pair + 1) * block]);
            for (k, v) in keys.chunks(KEYS * dim).zip(values.chunks(KEYS * dim)) {
                let n = k.len() / dim;
                let step = Step {
                    state: &mut state,
                    keys: Vectors::F32(k),
                    values: Vectors::F32(v),
                    n,
                    d: dim,
                    rows: rows.clone(),
                    group: 1,
                    visible: |_| Some(0..n),
                };
                simd::run(isa, step);
            }
            for (i, start) in starts.enumerate() {
                // SAFETY: only this task has these rows of this head.
                state.result(i, unsafe { out.part(start..start + dim) });
            }
        })
    })
}
