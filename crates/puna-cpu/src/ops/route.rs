//! [`Route`].

use super::product::{PackedRows, Strips, cost, product, row_blocks};
use crate::device::{CpuDevice, Scratch, Worker};
use crate::pool::Split;
use puna_core::DeviceError;
use puna_core::ops::{Picks, Route};

/// Rows whose activations are packed at once: in F32, the form that routers take, they are as large as they were.
const ROWS: usize = 128;

pub(crate) fn route(device: &mut CpuDevice, op: &Route<'_>) -> Result<(), DeviceError> {
    const OP: &str = "Route";
    let mut ids = device.buffers.take(OP, "picks", op.picks.ids)?;
    let result = match device.buffers.take(OP, "picks", op.picks.scores) {
        Ok(mut scores) => {
            let picks = ids.u32s_mut().and_then(|ids| Ok((ids, scores.f32s_mut()?)));
            let result = picks.and_then(|picks| {
                let n = op.x.n_rows.checked_mul(op.picks.top_k);
                let picks = n.and_then(|n| Some((picks.0?.get_mut(..n)?, picks.1?.get_mut(..n)?)));
                let (ids, scores) = picks.ok_or(DeviceError::Handle { op: OP, what: "picks" })?;
                choose(device, op, ids, scores)
            });
            device.buffers.put(op.picks.scores, scores);
            result
        }
        Err(e) => Err(e),
    };
    device.buffers.put(op.picks.ids, ids);
    result
}

fn choose(d: &mut CpuDevice, op: &Route<'_>, ids: &mut [u32], scores: &mut [f32]) -> Result<(), DeviceError> {
    const OP: &str = "Route";
    let w = d.weights.mat(OP, op.router)?;
    let x = d.buffers.rows(OP, "input rows", &op.x)?;
    let (n_rows, n_experts, kernels) = (op.x.n_rows, op.router.n_out, &d.exact);
    let strips = Strips::new(op.router, n_rows.min(ROWS));
    d.team.prepare(|worker| {
        worker.tile.room::<f32>(strips.tile(n_rows.min(ROWS)))?;
        w.prepare(&mut worker.floats)
    })?;
    let Scratch { packed, rows: logits, .. } = &mut d.scratch;
    let logits = logits.room::<f32>(n_rows.saturating_mul(n_experts))?;
    let all = Split::new(&mut *logits);
    for rows in row_blocks(n_rows, ROWS) {
        let form = kernels.form(op.router.dtype, op.router.layout, rows.len());
        let x = &x[rows.start * op.x.width..rows.end * op.x.width];
        let packed = PackedRows::new(kernels, form, x, op.router.n_in, packed, &mut d.team)?;
        d.team.run(strips.len(), cost(op.router, rows.len()), |task, worker| {
            let Worker { kernel, tile, floats, .. } = worker;
            let outs = strips.get(task);
            let tile = &mut tile.values_mut()[..rows.len() * outs.len()];
            product(kernels, &w, &packed.rows(0..rows.len()), outs.clone(), (kernel, floats), tile);
            for (r, tile) in rows.clone().zip(tile.chunks_exact(outs.len())) {
                // SAFETY: only this task has the columns `outs`.
                unsafe { all.part(r * n_experts + outs.start..r * n_experts + outs.end) }
                    .copy_from_slice(tile);
            }
        })?;
    }
    let k = op.picks.top_k;
    let picks = ids.chunks_exact_mut(k).zip(scores.chunks_exact_mut(k));
    for (logits, (ids, scores)) in logits.chunks_exact_mut(n_experts).zip(picks) {
        logits.iter_mut().filter(|v| v.is_nan()).for_each(|v| *v = f32::NEG_INFINITY);
        let (ids, scores) = Picks::of_router(op.always, ids, scores);
        top_k(logits, ids, scores);
    }
    Ok(())
}

/// The largest logits without NaN, in falling order, of equal ones the lowest index first; and their sigmoids.
fn top_k(logits: &[f32], ids: &mut [u32], scores: &mut [f32]) {
    let mut last = None;
    for (id, score) in ids.iter_mut().zip(scores) {
        // Those that come after the last one chosen, in the order of choice.
        let left = logits.iter().enumerate().filter(|&(e, &logit)| match last {
            Some((at, value)) => logit < value || (logit == value && e > at),
            None => true,
        });
        let best = left.reduce(|best, next| if next.1 > best.1 { next } else { best });
        if let Some((e, &logit)) = best {
            last = Some((e, logit));
            *id = e as u32;
            *score = (1.0 / (1.0 + libm::exp(-f64::from(logit)))) as f32;
        }
    }
}
