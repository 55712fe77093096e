//! [`Attend`]: query rows of one key/value head together, online softmax over blocks of keys.
//!
//! A task is one key/value head, a tile of query rows (all query heads of the group) and a range of keys. Many rows
//! give enough tasks; few rows (decode) are also split by keys, and the parts are put together afterwards in order.

mod all;
mod state;
mod step;

pub(crate) use all::attend_all;

use super::kv_append::check_block;
use super::simd;
use crate::buffers::{Buffers, Storage};
use crate::device::CpuDevice;
use crate::pool::Split;
use core::ops::Range;
use puna_core::{DeviceError, Elem, KvView, ops::Attend};
use state::{Merge, State};
use step::{KEYS, Run};

const OP: &str = "Attend";
/// Query vectors of a tile, about: enough to pay for converting the keys, few enough to stay in the L1 cache.
const TILE: usize = 32;
/// Fewer tasks than this are split by keys, into no more than [`MAX_TASKS`] parts of at least [`MIN_KEYS`].
const FEW_TASKS: usize = 64;
const MAX_TASKS: usize = 512;
const MIN_KEYS: usize = 256;

/// How an op is cut into tasks. Nothing here depends on the number of threads.
#[derive(Clone, Copy)]
struct Shape {
    n_rows: usize,
    head_dim: usize,
    /// Head dimension in whole vectors, so that kernels need no tails.
    padded: usize,
    n_kv_heads: usize,
    /// Query heads of a key/value head.
    group: usize,
    tile_rows: usize,
    n_tiles: usize,
    /// Parts that the keys of a tile are split in.
    n_parts: usize,
    /// First visible position of the first row, and the number of visible keys in the cache from there.
    first_key: u64,
    n_keys: usize,
}

impl Shape {
    fn new(op: &Attend<'_>) -> Self {
        let (n_rows, head_dim, n_kv_heads) = (op.q.n_rows, op.kv.head_dim, op.kv.n_kv_heads);
        let group = op.q.width / (n_kv_heads * head_dim);
        let tile_rows = (TILE / group).clamp(1, n_rows);
        let n_tiles = n_rows.div_ceil(tile_rows);
        let first_key = op.window.start(op.pos);
        let n_keys = (op.pos - first_key) as usize + n_rows;
        let tasks = n_tiles * n_kv_heads;
        let max_parts = if tasks < FEW_TASKS { MAX_TASKS / tasks } else { 1 };
        let n_parts = n_keys.div_ceil(MIN_KEYS).clamp(1, max_parts);
        let padded = head_dim.next_multiple_of(step::PAD);
        Self { n_rows, head_dim, padded, n_kv_heads, group, tile_rows, n_tiles, n_parts, first_key, n_keys }
    }

    /// Query vectors in a full tile.
    fn vectors(&self) -> usize {
        self.tile_rows * self.group
    }

    fn rows(&self, tile: usize) -> Range<usize> {
        tile * self.tile_rows..self.n_rows.min((tile + 1) * self.tile_rows)
    }

    /// Values of one partial result: for each query vector its sum of values, largest score and total weight.
    fn partial(&self) -> usize {
        self.vectors() * (self.padded + 2)
    }

    /// The keys that one part of a tile's work goes over.
    fn keys(&self, op: &Attend<'_>, tile: usize, part: usize) -> Range<u64> {
        let rows = self.rows(tile);
        let (start, end) = (op.window.start(op.pos + rows.start as u64), op.pos + rows.end as u64);
        if self.n_parts == 1 {
            return start..end;
        }
        // Parts of whole key blocks, the same for all tiles.
        let step = (self.n_keys.div_ceil(self.n_parts).next_multiple_of(KEYS)) as u64;
        let first = self.first_key + part as u64 * step;
        start.max(first)..end.min(first + step)
    }
}

pub(crate) fn attend(device: &mut CpuDevice, op: &Attend<'_>) -> Result<(), DeviceError> {
    device.with_out(OP, &op.out, |d, out| {
        let q = d.buffers.rows(OP, "input rows", &op.q)?;
        for block in op.kv.blocks {
            check_block(OP, op.kv, d.buffers.get(OP, "key/value block", *block)?)?;
        }
        if out.is_empty() {
            return Ok(());
        }
        let (shape, isa, buffers) = (Shape::new(op), d.isa, &d.buffers);
        let (heads, parts) = (shape.n_kv_heads, shape.n_parts);
        d.team.prepare(|worker| {
            worker.attend.room::<f32>(state::scratch_len(shape.vectors(), shape.padded)).map(|_| ())
        })?;
        // Sized for the longest context at once: decoding must not allocate as it goes.
        let most =
            if heads * shape.n_tiles < FEW_TASKS { MAX_TASKS.saturating_mul(shape.partial()) } else { 0 };
        let partials = d.scratch.attend.room::<f32>(most)?;
        let (all, out) = (Split::new(&mut *partials), Split::new(out));
        let seen = (shape.n_rows as u64).saturating_mul(shape.n_keys as u64);
        // SmolLM2's heads of 64 values take a nanosecond for 6 of these, Llama 4's of 128 one for 13.
        let cost = seen.saturating_mul(op.q.width as u64) / 10;
        // Neighbouring tasks share a head's keys; the last tiles see the most of them and go first.
        d.team.run(heads * shape.n_tiles * parts, cost, |task, worker| {
            let (head, tile, part) =
                (task / (shape.n_tiles * parts), task / parts % shape.n_tiles, task % parts);
            let tile = shape.n_tiles - 1 - tile;
            let mut state = State::new(worker.attend.values_mut(), shape.vectors(), shape.padded);
            let rows = shape.rows(tile);
            let (group, d) = (shape.group, shape.head_dim);
            let starts = rows
                .clone()
                .flat_map(|row| (0..group).map(move |g| row * op.q.width + (head * group + g) * d));
            state.load_queries(q, rows.len() * group, starts, d, op.scale);
            visit(isa, buffers, op, &shape, head, &mut state, rows.clone(), shape.keys(op, tile, part));
            if parts == 1 {
                finish(&state, op, &shape, head, rows, &out);
            } else {
                let start = ((head * shape.n_tiles + tile) * parts + part) * shape.partial();
                // SAFETY: each task has a partial result of its own.
                state.save(unsafe { all.part(start..start + shape.partial()) });
            }
        })?;
        if parts > 1 {
            let partials = &*partials;
            let cost = (heads * shape.n_tiles * parts * shape.partial()) as u64 / 4;
            d.team.run(heads * shape.n_tiles, cost, |task, worker| {
                let (head, tile) = (task / shape.n_tiles, task % shape.n_tiles);
                let mut state = State::new(worker.attend.values_mut(), shape.vectors(), shape.padded);
                let rows = shape.rows(tile);
                state.clear(rows.len() * shape.group);
                let start = task * parts * shape.partial();
                let saved = &partials[start..start + parts * shape.partial()];
                for saved in saved.chunks_exact(shape.partial()) {
                    simd::run(isa, Merge { state: &mut state, saved });
                }
                finish(&state, op, &shape, head, rows, &out);
            })?;
        }
        Ok(())
    })
}

/// Goes over `keys`, a block at a time.
fn visit(
    isa: crate::isa::Isa,
    buffers: &Buffers,
    op: &Attend<'_>,
    shape: &Shape,
    head: usize,
    state: &mut State<'_>,
    rows: Range<usize>,
    keys: Range<u64>,
) {
    let kv = op.kv;
    let tokens = kv.block_tokens as u64;
    // How many keys from `key` on and before `end` go together, and where they are.
    let at = |key: u64, end: u64| {
        let slot = key - kv.first;
        let len = end.saturating_sub(key).min(tokens - slot % tokens);
        let block = usize::try_from(slot / tokens).ok().and_then(|b| kv.blocks.get(b));
        let storage = block.and_then(|b| buffers.get(OP, "key/value block", *b).ok());
        (len, storage.and_then(|s| key_values(s, kv, head, (slot % tokens) as usize, len as usize)))
    };
    let mut key = keys.start;
    while key < keys.end {
        let (len, found) = at(key, keys.end);
        if let Some([k, v]) = found {
            // What follows is often the next block's, and past the end of this part most likely this thread's next.
            let ahead = match at(key + len, op.pos + rows.end as u64) {
                (1.., Some([Vectors::F16(k), _])) => k,
                _ => &[],
            };
            let (pos, window, group) = (op.pos, op.window, shape.group);
            // Which of these keys a row sees.
            let visible = |row: usize| {
                let p = pos + row as u64;
                let (from, to) = (window.start(p).max(key), (p + 1).min(key + len));
                (from < to).then(|| (from - key) as usize..(to - key) as usize)
            };
            simd::run(
                isa,
                Run {
                    state,
                    keys: k,
                    values: v,
                    n: len as usize,
                    d: kv.head_dim,
                    rows: rows.clone(),
                    group,
                    visible,
                    ahead,
                },
            );
        }
        key += len;
    }
}

/// Consecutive vectors of one head in a block.
#[derive(Clone, Copy)]
enum Vectors<'a> {
    F32(&'a [f32]),
    F16(&'a [half::f16]),
}

impl Vectors<'_> {
    /// These values.
    #[inline(always)]
    fn part(&self, values: &Range<usize>) -> Self {
        match self {
            Vectors::F32(all) => Vectors::F32(&all[values.clone()]),
            Vectors::F16(all) => Vectors::F16(&all[values.clone()]),
        }
    }
}

/// The keys and the values of `head` in the slots `slot .. slot + n` of a block.
fn key_values<'a>(
    block: &'a Storage,
    kv: &KvView<'_>,
    head: usize,
    slot: usize,
    n: usize,
) -> Option<[Vectors<'a>; 2]> {
    let at = |part: usize| {
        let start = ((part * kv.n_kv_heads + head) * kv.block_tokens + slot) * kv.head_dim;
        start..start + n * kv.head_dim
    };
    Some(match kv.elem {
        Elem::F16 => [0, 1].map(|part| block.f16s().and_then(|b| b.get(at(part))).map(Vectors::F16)),
        _ => [0, 1].map(|part| block.f32s().and_then(|b| b.get(at(part))).map(Vectors::F32)),
    })
    .and_then(|[k, v]| Some([k?, v?]))
}

/// Divides by the total weights and writes the rows of one head group.
fn finish(
    state: &State<'_>,
    op: &Attend<'_>,
    shape: &Shape,
    head: usize,
    rows: Range<usize>,
    out: &Split<'_, f32>,
) {
    let d = shape.head_dim;
    for (i, row) in rows.enumerate() {
        for g in 0..shape.group {
            let start = row * op.q.width + (head * shape.group + g) * d;
            // SAFETY: only this task has these rows of this head group.
            state.result(i * shape.group + g, unsafe { out.part(start..start + d) });
        }
    }
}
