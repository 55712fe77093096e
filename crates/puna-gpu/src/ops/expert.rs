//! [`ExpertFfn`], without reading the picks back: kernels look up, for each pick, where its expert's matrices are.
//!
//! A few picks are computed one by one. Many are first sorted by expert, and cut into tiles of rows that share a matrix.
//! The number of tiles is known to the GPU alone, and the kernel that sorts writes it down as the grid of the products that
//! follow. Where a dispatch cannot be indirect, there are as many workgroups as there can be tiles, and the last ones, at
//! most as many as there are experts, find nothing to do. Picks that are computed one by one need no such count.
//!
//! Experts whose matrices fit into one binding together share a dispatch; the others follow in further dispatches, each
//! of which leaves the picks of absent experts alone.

use super::expert_plan::Plan;
use super::experts_bound::{Group, groups};
use super::matmul::{self, FEW_ROWS, Params, Part, meet, narrow, offset, product_kernel};
use super::swiglu::fusable;
use super::{MAX_SCRATCH, NONE, Ops, chunks, distinct, format};
use crate::buffer::{Buffer, Operand, Span};
use crate::recorder::Scratch;
use puna_core::ops::ExpertFfn;
use puna_core::{DeviceError, Expert, Layout, Mat};
use puna_shaders::{Job, Kernel, Narrow, Shape, Tier};

const OP: &str = "ExpertFfn";

/// Rows of one chunk and what is known of their picks.
struct Batch<'a> {
    rows: usize,
    top_k: usize,
    ids: &'a Operand,
    scores: &'a Operand,
    /// Of all products.
    tier: Tier,
    /// The sorted picks, if they are many.
    plan: Option<Plan>,
}

impl Batch<'_> {
    fn picks(&self) -> usize {
        self.rows * self.top_k
    }
}

/// Whether many picks can be sorted and multiplied in tiles.
pub(crate) fn tiled(experts: &[Expert]) -> bool {
    let one = |e: &Expert| fusable(&e.gate, &e.up) && e.down.layout == Layout::OutIn;
    experts.len() <= Kernel::MOST_EXPERTS && experts.iter().all(one)
}

/// Workgroups that a tile of picks takes.
fn columns(group: &Group, job: Job, tier: Tier) -> u32 {
    let rows = group.places.first().map_or(0, |place| place.rows);
    (rows as u32).div_ceil(tier.outputs(job, Shape::Tile))
}

/// The tier of all products of a layer's experts, with rows that begin at these elements.
pub(crate) fn tier_of(tier: Tier, offsets: &[usize], hidden: usize, n_ff: usize) -> Tier {
    let first = matmul::tier_of(tier, offsets, hidden);
    if first == matmul::tier_of(tier, &[], n_ff) { first } else { Tier::Thread }
}

impl Ops<'_> {
    pub(super) fn expert_ffn(&mut self, op: &ExpertFfn<'_>) -> Result<(), DeviceError> {
        let (x, out) = (self.rows(OP, "input rows", &op.x)?, self.rows(OP, "output rows", &op.out)?);
        let top_k = op.picks.top_k;
        let (ids, scores) = self.picks(OP, &op.picks, op.x.n_rows * top_k)?;
        distinct(OP, &out.buffer, &scores.buffer)?;
        let Some(one) = op.experts.first().filter(|_| top_k > 0) else { return Ok(()) };
        let (hidden, n_ff) = (op.x.width, one.gate.n_out);
        let most = self.rec.data_words() / 3;
        if op.experts.len() > most {
            let (limit, found) = (most as u64 + 1, op.experts.len() as u64);
            return Err(DeviceError::Range { op: OP, what: "number of experts", limit, found });
        }
        let (fused, tiled) = (op.experts.iter().all(|e| fusable(&e.gate, &e.up)), tiled(op.experts));
        let bound = |of: &dyn Fn(&Expert) -> Vec<Mat>| groups(self.ctx, self.weights, OP, op.experts, of);
        let firsts = match fused {
            true => vec![bound(&|e| vec![e.gate, e.up])?],
            false => vec![bound(&|e| vec![e.gate])?, bound(&|e| vec![e.up])?],
        };
        let downs = bound(&|e| vec![e.down])?;

        let ids = Operand::new(ids.buffer.clone(), top_k);
        let scores = Operand::new(scores.buffer.clone(), top_k);
        let chunk = self.row_chunk(hidden * n_ff * top_k, &[top_k * hidden, top_k * n_ff]);
        let widest = top_k * n_ff.max(if top_k > 1 { hidden } else { 0 });
        let chunk = chunk.min(MAX_SCRATCH / widest.max(1)).min(super::MAX_ROWS / top_k).max(1);
        for (first, n) in chunks(op.x.n_rows, chunk) {
            let picks = n * top_k;
            let (x, out) = (x.skip_rows(first), out.skip_rows(first));
            let (ids, scores) = (ids.skip_rows(first), scores.skip_rows(first));
            let tier = tier_of(self.ctx.tier, &[x.offset], hidden, n_ff);
            let plan = match tiled && picks >= op.experts.len().max(FEW_ROWS) {
                true => {
                    let of = |groups: &[Group], job| {
                        groups.iter().map(|g| columns(g, job, tier)).collect::<Vec<_>>()
                    };
                    let mut grids = of(&downs, Job::ExpertDown);
                    grids.extend(firsts.iter().flat_map(|groups| of(groups, Job::ExpertSwiGlu)));
                    Some(self.sort(&ids, n, (picks, tier.tile()), op.experts.len(), grids)?)
                }
                false => None,
            };
            let batch = Batch { rows: n, top_k, ids: &ids, scores: &scores, tier, plan };
            let gate = Operand::new(self.rec.scratch(self.ctx, Scratch::Gate, picks * n_ff)?, n_ff);
            if let [pairs] = &firsts[..] {
                let rounded = self.rounded_rows(pairs, &batch, &x, n)?;
                for group in pairs {
                    self.expert_product(group, Job::ExpertSwiGlu, &batch, (&x, &rounded), &gate)?;
                }
            } else {
                let up = Operand::new(self.rec.scratch(self.ctx, Scratch::Up, picks * n_ff)?, n_ff);
                for (groups, to) in firsts.iter().zip([&gate, &up]) {
                    for group in groups {
                        self.single_product(group, false, &batch, &x, to)?;
                    }
                }
                self.combine(&gate, &up, picks)?;
            }
            self.down(&downs, &batch, &gate, &out)?;
        }
        Ok(())
    }

    /// The last products: `gate` has a row for each pick.
    fn down(
        &mut self,
        groups: &[Group],
        batch: &Batch<'_>,
        gate: &Operand,
        out: &Operand,
    ) -> Result<(), DeviceError> {
        // A tile's rows are picks: with several for a row, they are summed afterwards, in the order of their ranks.
        let parts = match batch.plan.is_some() && batch.top_k > 1 {
            true => {
                let len = batch.picks() * out.width;
                Some(Operand::new(self.rec.scratch(self.ctx, Scratch::Up, len)?, out.width))
            }
            false => None,
        };
        let rounded = self.rounded_rows(groups, batch, gate, batch.picks())?;
        for group in groups {
            match group.mats[0].layout {
                Layout::OutIn => {
                    let to = parts.as_ref().unwrap_or(out);
                    self.expert_product(group, Job::ExpertDown, batch, (gate, &rounded), to)?;
                }
                Layout::InOut => self.single_product(group, true, batch, gate, out)?,
            }
        }
        let Some(parts) = parts else { return Ok(()) };
        let ((from, parts_base), (to, out_base)) =
            (parts.span(self.ctx, batch.picks()), out.span(self.ctx, batch.rows));
        let parts = 4 * (batch.picks() * out.width) as u64;
        self.rec.extra.0 += parts;
        self.rec.extra.1 += parts;
        let params = [batch.rows as u32, out.width as u32, batch.top_k as u32, parts_base, out_base];
        let grid = (out.width.div_ceil(64) as u32, batch.rows as u32);
        let work = (batch.picks() * out.width) as u64;
        self.rec.dispatch(self.ctx, Kernel::SumPicks, &params, &[from, to], grid, work)
    }

    /// The rows in all that the products of groups read them in, if not as they are: before anything is uploaded for one of
    /// these.
    fn rounded_rows(
        &mut self,
        groups: &[Group],
        batch: &Batch<'_>,
        x: &Operand,
        rows: usize,
    ) -> Result<Vec<(Narrow, Buffer)>, DeviceError> {
        let mut rounded: Vec<(Narrow, Buffer)> = Vec::new();
        for mat in groups.iter().filter_map(|group| group.mats.first()).filter(|_| batch.plan.is_some()) {
            if let Some(how) = self.ctx.tiles.of(format(OP, mat.dtype)?, batch.tier)
                && rounded.iter().all(|(other, _)| *other != how)
            {
                rounded.push((how, self.round(x, rows, how)?));
            }
        }
        Ok(rounded)
    }

    /// What the kernels of a group of experts share, and whether all matrices are aligned. Their table goes to the arena.
    fn expert_params(
        &mut self,
        group: &Group,
        batch: &Batch<'_>,
        bases: &[u32],
        scale_base: u32,
    ) -> Result<(Params, bool), DeviceError> {
        let (mat, place) = (&group.mats[0], group.places[0]);
        let part = Part::new(mat, place.first, place.rows);
        let mut aligned = true;
        let mut table = Vec::with_capacity(3 * group.members.len());
        for member in &group.members {
            let Some(member) = member else {
                table.extend([NONE; 3]);
                continue;
            };
            let mut at = [NONE; 2];
            for (i, base) in bases.iter().enumerate() {
                at[i] = base + (member.starts[i] - group.places[i].start) as u32;
                aligned &= at[i].is_multiple_of(4) && group.mats[i].stride.is_multiple_of(4);
            }
            let scale = group
                .scales
                .map_or(NONE, |(from, _)| offset(scale_base, member.scale - from + part.first_out));
            table.extend([at[0], at[1], scale]);
        }
        let aligned = aligned && format(OP, mat.dtype)?.keeps_alignment();
        let params = Params {
            rows: batch.rows as u32,
            n_in: part.n_in as u32,
            n_out: part.n_out as u32,
            x_stride: mat.n_in as u32,
            out_stride: mat.n_out as u32,
            w_stride: mat.stride as u32,
            up_stride: group.mats.get(1).map_or(0, |m| m.stride) as u32,
            top_k: batch.top_k as u32,
            n_experts: group.members.len() as u32,
            table_base: self.rec.upload(self.ctx, &table)?,
            ..Params::default()
        };
        Ok((params, aligned))
    }

    /// Counts the weights that a group of experts loads: its share of what all experts of the layer would.
    fn loaded_by(
        &mut self,
        group: &Group,
        kernel: Kernel,
        at: (u32, usize),
        dims: (usize, usize),
        tiles: usize,
    ) {
        let before = self.rec.counts.weight_bytes;
        self.loaded(kernel, at, dims, tiles as u32);
        let share = group.members.iter().flatten().count() as u64;
        let all = self.rec.counts.weight_bytes - before;
        self.rec.counts.weight_bytes = before + all * share / group.members.len() as u64;
    }

    /// One dispatch of a fused first product, or of a last one.
    fn expert_product(
        &mut self,
        group: &Group,
        job: Job,
        batch: &Batch<'_>,
        (x, rounded): (&Operand, &[(Narrow, Buffer)]),
        out: &Operand,
    ) -> Result<(), DeviceError> {
        let (ctx, mat, place) = (self.ctx, group.mats[0], group.places[0]);
        let picks = batch.picks();
        let mut bound = Vec::with_capacity(2);
        for (mat, place) in group.mats.iter().zip(&group.places) {
            bound.push(self.weight(OP, mat.weight)?.span(ctx, place.piece, place.start, place.end));
        }
        let bases: Vec<u32> = bound.iter().map(|(_, base)| *base).collect();
        let (scale, scale_base) = self.vector(OP, group.factors())?;
        let (params, aligned) = self.expert_params(group, batch, &bases, scale_base)?;

        // A first product gives a row for each pick from the rows that picked, a last one the other tier round.
        let to_parts = batch.plan.is_some() && batch.top_k > 1;
        let (x_rows, out_rows) = match job {
            Job::ExpertDown if to_parts => (picks, picks),
            Job::ExpertDown => (picks, batch.rows),
            _ => (batch.rows, picks),
        };
        let ((x, x_base), (out, out_base)) = (x.span(ctx, x_rows), out.span(ctx, out_rows));
        let ((ids, pick_base), (scores, scores_base)) =
            (batch.ids.span(ctx, batch.rows), batch.scores.span(ctx, batch.rows));
        let (shape, tiles, chosen, pick_base) = match &batch.plan {
            Some(plan) => (Shape::Tile, plan.tiles, Span::whole(&plan.buffer.buffer), plan.sorted),
            None if job == Job::ExpertDown => (Shape::Row, batch.rows, ids, pick_base),
            None => (Shape::Row, picks, ids, pick_base),
        };
        let params = Params {
            x_base,
            out_base: out_base + place.first as u32,
            add: (job == Job::ExpertDown && !to_parts).into(),
            pick_base,
            scores_base,
            ..params
        };
        let tier = batch.tier;
        let kernel = product_kernel(format(OP, mat.dtype)?, aligned, job, shape, (tier, ctx.tiles));
        let rounded = rounded.iter().find(|(how, _)| narrow(&kernel) == Some(*how));
        let (x, params) = meet(rounded, x, params);
        let columns = (place.rows as u32).div_ceil(tier.outputs(job, shape));
        let grid = match &batch.plan {
            Some(plan) => plan.grid(ctx, columns),
            None => (columns, tiles as u32).into(),
        };
        let arena = self.rec.arena();
        let table = Span::whole(&arena);
        let work = (picks * mat.n_in * place.rows * group.mats.len()) as u64;
        let tiles = if batch.plan.is_some() { tiles } else { picks };
        for (mat, (_, base)) in group.mats.iter().zip(&bound) {
            self.loaded_by(group, kernel, (*base, mat.stride), (mat.n_in, place.rows), tiles);
        }
        let params = params.words();
        match (job, &bound[..]) {
            (Job::ExpertSwiGlu, [(gate, _), (up, _)]) => {
                let spans = [*gate, x, out, *up, table, chosen, scores];
                self.rec.dispatch(ctx, kernel, &params, &spans, grid, work)
            }
            (_, [(w, _), ..]) => {
                let spans = [*w, x, out, scale, table, chosen];
                self.rec.dispatch(ctx, kernel, &params, &spans, grid, work)
            }
            _ => Ok(()),
        }
    }

    /// One dispatch of a single matrix, pick by pick: matrices stored `[n_in, n_out]` or with factors.
    fn single_product(
        &mut self,
        group: &Group,
        last: bool,
        batch: &Batch<'_>,
        x: &Operand,
        out: &Operand,
    ) -> Result<(), DeviceError> {
        let (ctx, mat, place) = (self.ctx, group.mats[0], group.places[0]);
        let (span, base) = self.weight(OP, mat.weight)?.span(ctx, place.piece, place.start, place.end);
        let part = Part::new(&mat, place.first, place.rows);
        let (scale, scale_base) = self.vector(OP, group.factors())?;
        let (params, aligned) = self.expert_params(group, batch, &[base], scale_base)?;
        let picks = batch.picks();
        let (x_rows, out_rows) = if last { (picks, batch.rows) } else { (batch.rows, picks) };
        let ((x, x_base), (out, out_base)) = (x.span(ctx, x_rows), out.span(ctx, out_rows));
        let ((ids, pick_base), (scores, scores_base)) =
            (batch.ids.span(ctx, batch.rows), batch.scores.span(ctx, batch.rows));
        let params = Params {
            rows: out_rows as u32,
            x_base: x_base + part.first_in as u32,
            out_base: out_base + part.first_out as u32,
            add: (part.first_in > 0).into(),
            pick_base,
            scores_base,
            ..params
        };
        let (format, in_out) = (format(OP, mat.dtype)?, mat.layout == Layout::InOut);
        let kernel = match last {
            false => Kernel::ExpertGateUp { format, aligned, in_out },
            true => Kernel::ExpertDown { format, aligned, in_out },
        };
        let grid = (part.n_out.div_ceil(64) as u32, out_rows as u32);
        let arena = self.rec.arena();
        let spans = [span, x, out, scale, ids, scores, Span::whole(&arena)];
        let work = (picks * part.n_in * part.n_out) as u64;
        self.loaded_by(group, kernel, (base, mat.stride), (part.n_in, part.n_out), picks);
        self.rec.dispatch(ctx, kernel, &params.words(), &spans, grid, work)
    }
}
