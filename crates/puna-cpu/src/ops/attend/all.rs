//! [`AttendAll`]: attention within groups of rows. All keys of a group are seen by all of its queries, so both of its
//! products are matrix products with panels: keys become columns, values are columns as they come.

use crate::device::{CpuDevice, Worker};
use crate::kernels::lanes::{Kernel, Lanes};
use crate::kernels::panel::{self, Multiply, Strided};
use crate::matmul::Kernels;
use crate::ops::simd::{self, Simd};
use crate::pool::{Split, Team};
use puna_core::{DeviceError, ops::AttendAll};

/// Query rows of a task.
const ROWS: usize = 48;

/// One op, and how its scratch memory is laid out.
#[derive(Clone, Copy)]
struct Shape {
    /// Rows of a group, values of a head, heads, values of a row.
    n: usize,
    dim: usize,
    heads: usize,
    width: usize,
    /// Values of a head's panel of keys `[n / width][dim][width]`, and of values `[dim / width][n][width]`.
    keys: usize,
    values: usize,
    /// From one row of scores to the next.
    scores: usize,
}

impl Shape {
    fn new(op: &AttendAll) -> Self {
        let (n, dim, width) = (op.group, op.head_dim, op.q.width);
        let [keys, values] = [panel::len(dim, n), panel::len(n, dim)];
        Self { n, dim, heads: width / dim, width, keys, values, scores: n.next_multiple_of(panel::MAX_WIDTH) }
    }

    /// Where head `i` of all groups begins in rows of activations.
    fn start(&self, i: usize) -> usize {
        i / self.heads * self.n * self.width + i % self.heads * self.dim
    }

    /// Values that a worker needs: scores, sums of values, totals; or eight keys.
    fn scratch(&self) -> usize {
        let row = self.scores.saturating_add(self.dim).saturating_add(1);
        row.saturating_mul(ROWS).max(self.dim.saturating_add(8).saturating_mul(8))
    }
}

pub(crate) fn attend_all(device: &mut CpuDevice, op: &AttendAll) -> Result<(), DeviceError> {
    const OP: &str = "AttendAll";
    device.with_out(OP, &op.out, |d, out| {
        let rows = |rows| d.buffers.rows(OP, "input rows", rows);
        let (q, k, v) = (rows(&op.q)?, rows(&op.k)?, rows(&op.v)?);
        if out.is_empty() {
            return Ok(());
        }
        let shape = Shape::new(op);
        let (kernels, isa, heads) = (&d.kernels, d.isa, op.q.n_rows / shape.n * shape.heads);
        d.team.prepare(|worker| worker.attend.room::<f32>(shape.scratch()).map(|_| ()))?;
        let packed = d.scratch.attend.room::<f32>(heads.saturating_mul(shape.keys + shape.values))?;
        pack(kernels, &shape, k, v, packed, &mut d.team)?;

        let (packed, tiles, out) = (&*packed, shape.n.div_ceil(ROWS), Split::new(out));
        let cost = (q.len() as u64).saturating_mul(shape.n as u64) / 32;
        d.team.run(heads * tiles, cost, |task, worker| {
            let (head, first) = (task / tiles, task % tiles * ROWS);
            let n_rows = ROWS.min(shape.n - first);
            let (keys, values) = packed[head * (shape.keys + shape.values)..][..shape.keys + shape.values]
                .split_at(shape.keys);
            let (scores, rest) = worker.attend.values_mut::<f32>().split_at_mut(ROWS * shape.scores);
            let (sums, totals) = rest.split_at_mut(ROWS * shape.dim);
            let start = shape.start(head) + first * shape.width;
            kernels.enter(Multiply {
                x: Strided { bytes: bytemuck::cast_slice(&q[start..]), stride: 4 * shape.width, n_rows },
                panel: keys,
                depth: shape.dim,
                out: scores,
                stride: shape.scores,
                n_out: shape.n,
                add: false,
            });
            let scores = &mut scores[..n_rows * shape.scores];
            simd::run(isa, Weigh { scores, stride: shape.scores, n: shape.n, scale: op.scale, totals });
            kernels.enter(Multiply {
                x: Strided { bytes: bytemuck::cast_slice(scores), stride: 4 * shape.scores, n_rows },
                panel: values,
                depth: shape.n,
                out: sums,
                stride: shape.dim,
                n_out: shape.dim,
                add: false,
            });
            for (r, (sums, total)) in sums.chunks_exact(shape.dim).zip(&*totals).take(n_rows).enumerate() {
                let at = start + r * shape.width;
                // SAFETY: only this task has these rows of this head.
                let out = unsafe { out.part(at..at + shape.dim) };
                out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum / total);
            }
        })
    })
}

/// Makes the panels of all heads, keys and then values.
fn pack(
    kernels: &Kernels,
    shape: &Shape,
    k: &[f32],
    v: &[f32],
    packed: &mut [f32],
    team: &mut Team<Worker>,
) -> Result<(), DeviceError> {
    team.chunks(packed, shape.keys + shape.values, k.len() as u64 / 2, |head, packed, worker| {
        let (keys, values) = packed.split_at_mut(shape.keys);
        let rows = worker.attend.values_mut::<f32>();
        let start = shape.start(head);
        kernels.enter(Pack { shape, k: &k[start..], v: &v[start..], rows, keys, values });
    })
}

struct Pack<'a> {
    shape: &'a Shape,
    k: &'a [f32],
    v: &'a [f32],
    /// Eight keys on their way to becoming columns.
    rows: &'a mut [f32],
    keys: &'a mut [f32],
    values: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let width = const { panel::width::<L>() };
        let Self { shape, k, v, rows, keys, values } = self;
        let Shape { n, dim, width: stride, .. } = *shape;
        let padded = dim + 8;
        let groups = bytemuck::cast_slice_mut::<_, u32>(keys).chunks_exact_mut(dim * width);
        for (group, first) in groups.zip((0..n).step_by(width)) {
            for lane in (0..width.min(n - first)).step_by(8) {
                for (i, row) in rows.chunks_exact_mut(padded).take(8).enumerate() {
                    // Beyond the last key there is the last key again: nobody looks at its scores.
                    let key = (first + lane + i).min(n - 1);
                    row[..dim].copy_from_slice(&k[key * stride..][..dim]);
                }
                panel::columns(l, rows, padded, dim, &mut group[lane..], width);
            }
        }
        for (group, first) in values.chunks_exact_mut(n * width).zip((0..dim).step_by(width)) {
            let len = width.min(dim - first);
            for (to, key) in group.chunks_exact_mut(width).zip(0..n) {
                to[..len].copy_from_slice(&v[key * stride + first..][..len]);
            }
        }
    }
}

/// Turns the `n` scores of each row into `exp(scale * score - largest)`, and sums these.
struct Weigh<'a> {
    scores: &'a mut [f32],
    stride: usize,
    n: usize,
    scale: f32,
    totals: &'a mut [f32],
}

impl simd::Kernel for Weigh<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let whole = self.n.next_multiple_of(S::N);
        for (row, total) in self.scores.chunks_exact_mut(self.stride).zip(self.totals) {
            // Beyond the last score the first one again, which changes nothing, and then nothing.
            let first = row[0];
            row[self.n..whole].fill(first);
            let (scale, mut largest) = (s.splat(self.scale), s.splat(f32::NEG_INFINITY));
            for piece in row[..whole].chunks_exact_mut(S::N) {
                // SAFETY: `piece` holds one vector.
                unsafe {
                    let score = s.mul(s.load(piece.as_ptr()), scale);
                    s.store(piece.as_mut_ptr(), score);
                    largest = s.max(largest, score);
                }
            }
            row[self.n..whole].fill(f32::NEG_INFINITY);
            let (minus, mut sum) = (s.splat(-s.largest(largest)), s.splat(0.0));
            for piece in row[..whole].chunks_exact_mut(S::N) {
                // SAFETY: `piece` holds one vector.
                unsafe {
                    let weight = s.exp(s.add(s.load(piece.as_ptr()), minus));
                    s.store(piece.as_mut_ptr(), weight);
                    sum = s.add(sum, weight);
                }
            }
            *total = s.sum(sum);
        }
    }
}
