//! [`ExpertFfn`], without reading the picks back: kernels look up, for each pick, where its expert's matrix is.
//!
//! Experts whose matrices fit into one binding together share a dispatch; the others follow in further dispatches, each
//! of which leaves the picks of absent experts alone.

use super::matmul::{Params, Part, offset};
use super::{MAX_SCRATCH, NONE, Ops, chunks, distinct, format};
use crate::buffer::{Operand, Span};
use crate::recorder::Scratch;
use crate::weights::Place;
use puna_core::ops::ExpertFfn;
use puna_core::{DeviceError, Expert, Layout, Mat};
use puna_shaders::Kernel;

/// The same rows of the same matrix of several experts, close enough in one buffer to be bound together.
struct Group {
    mat: Mat,
    place: Place,
    /// For each expert of the layer, its first byte in the buffer and the first element of its scales in their region;
    /// none if it is not in the group.
    members: Vec<Option<(u64, usize)>>,
    /// First element of all members' scales, and the end of the last.
    scales: Option<(usize, usize)>,
}

impl Group {
    /// Takes in the rows of one more expert, or says that they cannot be bound with the others.
    fn admit(&mut self, e: usize, mat: &Mat, place: Place, limit: u64) -> bool {
        let (start, end) = (self.place.start.min(place.start), self.place.end.max(place.end));
        let scales = match (self.scales, mat.scale) {
            (None, None) => None,
            (Some((from, to)), Some(v)) => Some((from.min(v.offset), to.max(v.offset + v.len))),
            _ => return false,
        };
        let same = mat.weight == self.mat.weight
            && mat.dtype == self.mat.dtype
            && mat.stride == self.mat.stride
            && mat.layout == self.mat.layout
            && mat.scale.map(|v| v.weight) == self.mat.scale.map(|v| v.weight)
            && (place.piece, place.first, place.rows)
                == (self.place.piece, self.place.first, self.place.rows);
        let small = end - start <= limit && scales.is_none_or(|(from, to)| ((to - from) as u64) * 4 <= limit);
        if !same || !small || self.members[e].is_some() {
            return false;
        }
        self.place = Place { start, end, ..self.place };
        self.members[e] = Some((place.start, mat.scale.map_or(0, |v| v.offset)));
        self.scales = scales;
        true
    }
}

impl Ops<'_> {
    pub(super) fn expert_ffn(&mut self, op: &ExpertFfn<'_>) -> Result<(), DeviceError> {
        const OP: &str = "ExpertFfn";
        let (x, out) = (self.rows(OP, "input rows", &op.x)?, self.rows(OP, "output rows", &op.out)?);
        let top_k = op.picks.top_k;
        let (ids, scores) = self.picks(OP, &op.picks, op.x.n_rows * top_k)?;
        distinct(OP, &out.buffer, &scores.buffer)?;
        let Some(one) = op.experts.first().filter(|_| top_k > 0) else { return Ok(()) };
        let (hidden, n_ff) = (op.x.width, one.gate.n_out);
        let most = self.rec.data_words() / 2;
        if op.experts.len() > most {
            let (limit, found) = (most as u64 + 1, op.experts.len() as u64);
            return Err(DeviceError::Range { op: OP, what: "number of experts", limit, found });
        }
        let gates = self.groups(OP, op.experts, |e| &e.gate)?;
        let ups = self.groups(OP, op.experts, |e| &e.up)?;
        let downs = self.groups(OP, op.experts, |e| &e.down)?;

        let ids = Operand::new(ids.buffer.clone(), top_k);
        let scores = Operand::new(scores.buffer.clone(), top_k);
        let chunk = self.row_chunk(hidden * n_ff * top_k, &[hidden, top_k * n_ff]);
        let chunk = chunk.min(MAX_SCRATCH / (top_k * n_ff).max(1)).min(super::MAX_ROWS / top_k).max(1);
        for (first, n) in chunks(op.x.n_rows, chunk) {
            let picks = n * top_k;
            let gate = Operand::new(self.rec.scratch(self.ctx, Scratch::Gate, picks * n_ff)?, n_ff);
            let up = Operand::new(self.rec.scratch(self.ctx, Scratch::Up, picks * n_ff)?, n_ff);
            let (x, out) = (x.from_row(first), out.from_row(first));
            let chosen = [&ids.from_row(first), &scores.from_row(first)];
            for group in &gates {
                self.expert_product(OP, group, false, (&x, n), chosen, (&gate, picks))?;
            }
            for group in &ups {
                self.expert_product(OP, group, false, (&x, n), chosen, (&up, picks))?;
            }
            self.combine(&gate, &up, picks)?;
            for group in &downs {
                self.expert_product(OP, group, true, (&gate, picks), chosen, (&out, n))?;
            }
        }
        Ok(())
    }

    /// One of the experts' matrices in as few groups as bindings allow, in the order of their rows.
    fn groups(
        &self,
        op: &'static str,
        experts: &[Expert],
        mat: impl Fn(&Expert) -> &Mat,
    ) -> Result<Vec<Group>, DeviceError> {
        let limit = self.ctx.max_binding - self.ctx.align;
        let mut groups: Vec<Group> = Vec::new();
        for (e, expert) in experts.iter().enumerate() {
            let mat = mat(expert);
            let weights = self.weight(op, mat.weight)?;
            let mut first = 0;
            while first < mat.stored().0 {
                let place = weights.place(self.ctx, op, mat, first)?;
                first += place.rows;
                if groups.iter_mut().rev().any(|g| g.admit(e, mat, place, limit)) {
                    continue;
                }
                let mut members = vec![None; experts.len()];
                members[e] = Some((place.start, mat.scale.map_or(0, |v| v.offset)));
                let scales = mat.scale.map(|v| (v.offset, v.offset + v.len));
                groups.push(Group { mat: *mat, place, members, scales });
            }
        }
        Ok(groups)
    }

    /// One dispatch: the first products (`x` has a row per row, `out` one per pick) or the last (the other way round).
    fn expert_product(
        &mut self,
        op: &'static str,
        group: &Group,
        last: bool,
        (x, x_rows): (&Operand, usize),
        chosen: [&Operand; 2],
        (out, out_rows): (&Operand, usize),
    ) -> Result<(), DeviceError> {
        let (ctx, mat, place) = (self.ctx, &group.mat, group.place);
        let weights = self.weight(op, mat.weight)?;
        let (span, base) = weights.span(ctx, place.piece, place.start, place.end);
        let part = Part::new(mat, place.first, place.rows);
        let scales = group.scales.zip(mat.scale).map(|((from, to), v)| puna_core::Vector {
            weight: v.weight,
            offset: from,
            len: to - from,
        });
        let (scale, scale_base) = self.vector(op, scales)?;

        let mut aligned = true;
        let mut table = Vec::with_capacity(2 * group.members.len());
        for member in &group.members {
            let Some((start, first_scale)) = member else {
                table.extend([NONE, NONE]);
                continue;
            };
            let at = base + (start - place.start) as u32;
            aligned &= at.is_multiple_of(4);
            let scale = group
                .scales
                .map_or(NONE, |(from, _)| offset(scale_base, first_scale - from + part.first_out));
            table.extend([at, scale]);
        }
        let format = format(op, mat.dtype)?;
        let aligned = aligned && format.keeps_alignment() && mat.stride.is_multiple_of(4);
        let in_out = mat.layout == Layout::InOut;

        let top_k = chosen[0].width;
        let rows = if last { out_rows } else { x_rows };
        let ((x, x_base), (out, out_base)) = (x.span(ctx, x_rows), out.span(ctx, out_rows));
        let ((ids, pick_base), (scores, _)) = (chosen[0].span(ctx, rows), chosen[1].span(ctx, rows));
        let table_base = self.rec.upload(ctx, &table)?;
        let arena = self.rec.arena();
        let params = Params {
            rows: out_rows as u32,
            n_in: part.n_in as u32,
            n_out: part.n_out as u32,
            x_base: x_base + part.first_in as u32,
            x_stride: mat.n_in as u32,
            out_base: out_base + part.first_out as u32,
            out_stride: mat.n_out as u32,
            w_base: 0,
            w_stride: mat.stride as u32,
            scale_base: NONE,
            bias_base: NONE,
            add: (part.first_in > 0).into(),
            top_k: top_k as u32,
            n_experts: group.members.len() as u32,
            table_base,
            pick_base,
        };
        let kernel = match last {
            false => Kernel::ExpertGateUp { format, aligned, in_out },
            true => Kernel::ExpertDown { format, aligned, in_out },
        };
        let grid = (part.n_out.div_ceil(64) as u32, out_rows as u32);
        let spans = [span, x, out, scale, ids, scores, Span::whole(&arena)];
        let work = (rows * top_k * part.n_in * part.n_out) as u64;
        self.rec.dispatch(ctx, kernel, &params.words(), &spans, grid, work)
    }
}
