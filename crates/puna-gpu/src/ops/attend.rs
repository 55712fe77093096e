//! [`Attend`]: all blocks that fit into the bindings of a dispatch at once, in parts of the keys where there are few
//! queries.

use super::{MAX_SCRATCH, Ops, chunks, distinct};
use crate::buffer::{Operand, Span};
use crate::recorder::Scratch;
use crate::traffic::seen;
use puna_core::ops::{Attend, Window};
use puna_core::{DeviceError, Elem};
use puna_shaders::{Kernel, Tier};

const BLOCKS: usize = Kernel::ATTEND_BLOCKS;
/// Workgroups that keep a GPU busy: the keys are divided into parts until there are so many.
const BUSY: usize = 256;
/// Tiles of keys that a part has at least.
const LEAST_TILES: usize = 2;

/// The parameters of the kernels of attention, in the order of `attend/params.wgsl`.
#[derive(Clone, Copy, Default)]
pub(super) struct Params {
    pub(super) queries: u32,
    pub(super) group: u32,
    pub(super) kv_heads: u32,
    pub(super) head_dim: u32,
    pub(super) width: u32,
    pub(super) passes: u32,
    pub(super) q_base: u32,
    pub(super) out_base: u32,
    pub(super) part_stride: u32,
    pub(super) parts: u32,
    pub(super) scale: f32,
    pub(super) carry: bool,
    pub(super) finish: bool,
    pub(super) tiles: u32,
    pub(super) pos: i32,
    pub(super) block_pos: i32,
    pub(super) chunk: i32,
    pub(super) block_tokens: u32,
    pub(super) n_blocks: u32,
    pub(super) rows: u32,
    pub(super) k_base: u32,
    pub(super) v_base: u32,
}

impl Params {
    pub(super) fn words(self) -> [u32; 22] {
        [
            self.queries,
            self.group,
            self.kv_heads,
            self.head_dim,
            self.width,
            self.passes,
            self.q_base,
            self.out_base,
            self.part_stride,
            self.parts,
            self.scale.to_bits(),
            self.carry.into(),
            self.finish.into(),
            self.tiles,
            self.pos as u32,
            self.block_pos as u32,
            self.chunk as u32,
            self.block_tokens,
            self.n_blocks,
            self.rows,
            self.k_base,
            self.v_base,
        ]
    }
}

/// The kernel for a cache; `wide` where there are many queries.
pub(crate) fn kernel(tier: Tier, elem: Elem, head_dim: usize, wide: bool) -> Kernel {
    let (f16, even) = (elem == Elem::F16, head_dim.is_multiple_of(2));
    // A software driver pays more for barriers than for products.
    match tier == Tier::Lanes && even && head_dim <= Kernel::ATTEND_VALUES {
        true => Kernel::AttendLanes { f16, wide: head_dim > Kernel::ATTEND_VALUES / 2 },
        false => Kernel::Attend { f16, odd: f16 && !even, wide },
    }
}

impl Ops<'_> {
    pub(super) fn attend(&mut self, op: &Attend<'_>) -> Result<(), DeviceError> {
        const OP: &str = "Attend";
        let kv = op.kv;
        let (q, out) = (self.rows(OP, "queries", &op.q)?, self.rows(OP, "output rows", &op.out)?);
        if op.q.is_empty() {
            return Ok(());
        }
        // One dispatch reads at most the bound blocks.
        let chunk = self.row_chunk(2 * op.q.width * kv.block_tokens * BLOCKS, &[op.q.width]);
        for (first, n) in chunks(op.q.n_rows, chunk) {
            let pos = op.pos + first as u64;
            self.attend_rows(op, &q.skip_rows(first), &out.skip_rows(first), pos, n)?;
        }
        Ok(())
    }

    /// `n` query rows from position `pos` on.
    fn attend_rows(
        &mut self,
        op: &Attend<'_>,
        q: &Operand,
        out: &Operand,
        pos: u64,
        n: usize,
    ) -> Result<(), DeviceError> {
        const OP: &str = "Attend";
        let (ctx, kv, width) = (self.ctx, op.kv, op.q.width);
        let heads = width / kv.head_dim;
        let group = heads / kv.n_kv_heads;
        let last = pos + n as u64 - 1;
        // Positions are counted from the start of the first row's window, so that they fit into 31 bits.
        let origin = op.window.start(pos);
        let fits = |p: u64| {
            let limit = origin.saturating_add(i32::MAX as u64);
            let error = DeviceError::Range { op: OP, what: "position", limit, found: p };
            i32::try_from(i128::from(p) - i128::from(origin)).map_err(|_| error)
        };
        fits(last + 1)?;
        let chunk = match op.window {
            Window::Full => 0,
            // A chunk that is larger than all positions that fit has no boundary among them.
            Window::Chunk(size) => i32::try_from(size).unwrap_or(0),
        };
        // Earlier blocks are seen by no row.
        let blocks = (origin.saturating_sub(kv.first) as usize) / kv.block_tokens
            ..((last - kv.first) as usize) / kv.block_tokens + 1;

        let f16 = kv.elem == Elem::F16;
        let queries = n * group;
        let wide = queries > 2 * Kernel::ATTEND_QUERIES;
        let kernel = kernel(ctx.tier, kv.elem, kv.head_dim, wide);
        let lanes = matches!(kernel, Kernel::AttendLanes { .. });
        let passes = kv.head_dim.div_ceil(Kernel::ATTEND_VALUES);
        let slices = if lanes { 1 } else { Kernel::slices(f16, wide) };
        let columns = queries.div_ceil(Kernel::ATTEND_QUERIES * slices) * passes;
        let of_block = kv.block_tokens.div_ceil(Kernel::ATTEND_KEYS);
        // In a single dispatch, those that hold keys and no more: few keys are not worth a second pass.
        let held = (last + 1 - kv.first) as usize - blocks.start * kv.block_tokens;
        let tiles = match blocks.len() <= BLOCKS {
            true => {
                held / kv.block_tokens * of_block + (held % kv.block_tokens).div_ceil(Kernel::ATTEND_KEYS)
            }
            false => BLOCKS * of_block,
        };
        let most_blocks = if lanes { 1 } else { BLOCKS };
        let parts = (BUSY / (columns * kv.n_kv_heads)).min(tiles / LEAST_TILES).min(Kernel::ATTEND_PARTS);
        let parts = parts.min(MAX_SCRATCH / (n * width)).max(1);
        let parts = if lanes { 1 } else { parts };
        let tiles = tiles.div_ceil(parts);

        // Keys and values are loaded for each group of queries.
        self.rec.extra.0 += (columns as u64 - 1) * seen(&Attend { q: op.q.slice(0, n), pos, ..op.clone() });
        let state = self.rec.scratch(ctx, Scratch::State, parts * passes * n * heads * 2)?;
        let (q_span, q_base) = q.span(ctx, n);
        let (out_span, out_base) = out.span(ctx, n);
        let sums = self.rec.scratch(ctx, Scratch::Sums, if parts > 1 { parts * n * width } else { 1 })?;
        let (to, to_base) = if parts > 1 { (Span::whole(&sums), 0) } else { (out_span, out_base) };
        let mut params = Params {
            queries: queries as u32,
            group: group as u32,
            kv_heads: kv.n_kv_heads as u32,
            head_dim: kv.head_dim as u32,
            width: width as u32,
            passes: passes as u32,
            q_base,
            out_base: to_base,
            part_stride: (n * width) as u32,
            parts: parts as u32,
            scale: op.scale,
            tiles: tiles as u32,
            pos: fits(pos)?,
            chunk,
            block_tokens: kv.block_tokens as u32,
            ..Params::default()
        };
        for first in blocks.clone().step_by(most_blocks) {
            let bound = first..blocks.end.min(first + most_blocks);
            let mut spans = [q_span, to, Span::whole(&state), to, to, to, to, to];
            let spans = &mut spans[..3 + most_blocks];
            for (i, span) in spans[3..].iter_mut().enumerate() {
                // Bindings without a block of their own are not read.
                let block = self.block(OP, kv, (first + i).min(bound.end - 1))?;
                distinct(OP, &block.buffer, &out.buffer)?;
                *span = Span::whole(&block.buffer);
            }
            params.n_blocks = bound.len() as u32;
            params.block_pos = fits(kv.first + (first * kv.block_tokens) as u64)?;
            params.carry = first > blocks.start;
            params.finish = parts == 1 && bound.end == blocks.end;
            let grid = (columns as u32, (kv.n_kv_heads * parts) as u32);
            let work = (2 * n * width * kv.block_tokens * bound.len()) as u64;
            self.rec.dispatch(ctx, kernel, &params.words(), spans, grid, work)?;
        }
        if parts > 1 {
            params.out_base = out_base;
            let spans = [Span::whole(&sums), Span::whole(&state), out_span];
            let (grid, work) = ((heads as u32, n as u32), (parts * n * width) as u64);
            let sums = 4 * (parts * n * (width + 2 * passes * heads)) as u64;
            self.rec.extra.0 += sums;
            self.rec.extra.1 += sums;
            self.rec.dispatch(ctx, Kernel::AttendMerge, &params.words(), &spans, grid, work)?;
        }
        Ok(())
    }
}
