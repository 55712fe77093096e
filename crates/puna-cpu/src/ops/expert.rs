//! [`ExpertFfn`]: rows grouped by expert, one matrix product for all rows of an expert.

use super::product::{PackedRows, Strips, cost, product};
use super::swiglu::gated;
use crate::device::{CpuDevice, Scratch, WeightMat, Weights, Worker};
use crate::matmul::{Form, Kernels};
use crate::pool::{Split, Team};
use alloc::vec::Vec;
use core::ops::Range;
use puna_core::{DeviceError, Expert, Mat, ops::ExpertFfn};

const OP: &str = "ExpertFfn";
/// Picks whose hidden rows exist at once, and at most so many of a group: what is between the products is 4 MiB in Scout
/// instead of 16 for a batch of 512, and unpacking weights again for every 128 rows of one expert costs little.
const WAVE: usize = 128;

/// The picks of a batch sorted by expert. A pick is a row's choice of one expert: row `pick / top_k`.
#[derive(Default)]
pub(crate) struct Grouping {
    /// Picks in order of expert, and of row within an expert. Picks that name no expert are left out.
    order: Vec<u32>,
    /// The experts that were picked, those with very many rows more than once.
    groups: Vec<Group>,
    waves: Vec<Wave>,
    /// For each expert the place in `order` of its next pick.
    next: Vec<u32>,
}

/// Rows of one expert.
struct Group {
    expert: usize,
    /// Its picks, as places in the order.
    picks: Range<usize>,
    /// The byte where its packed rows begin, in the form that each matrix takes.
    gate: usize,
    up: usize,
    down: usize,
}

/// Consecutive groups that are computed together.
struct Wave {
    groups: Range<usize>,
    /// Their picks, as places in the order.
    picks: Range<usize>,
    /// Bytes of their packed hidden rows.
    packed: usize,
}

/// Bytes of all packed rows: of what experts take in, and of the hidden rows between the products of the widest wave.
#[derive(Clone, Copy, Default)]
struct PackedBytes {
    inputs: usize,
    hidden: usize,
}

impl Grouping {
    /// Counting sort of the picks, and where their packed rows go.
    fn sort(
        &mut self,
        ids: &[u32],
        experts: &[Expert],
        kernels: &Kernels,
    ) -> Result<PackedBytes, DeviceError> {
        let refused = |n: usize| DeviceError::OutOfMemory { bytes: 4 * n as u64 };
        self.order.clear();
        self.groups.clear();
        self.waves.clear();
        self.next.clear();
        self.order.try_reserve(ids.len()).map_err(|_| refused(ids.len()))?;
        let most = experts.len().saturating_add(ids.len() / WAVE);
        self.groups.try_reserve(most).map_err(|_| refused(most))?;
        self.waves.try_reserve(most).map_err(|_| refused(most))?;
        self.next.try_reserve(experts.len() + 1).map_err(|_| refused(experts.len()))?;
        self.next.resize(experts.len() + 1, 0);
        let picked = |&id: &u32| (id as usize) < experts.len();
        for id in ids.iter().copied().filter(picked) {
            self.next[id as usize + 1] += 1;
        }
        let mut bytes = PackedBytes::default();
        for (e, expert) in experts.iter().enumerate() {
            let (start, n) = (self.next[e] as usize, self.next[e + 1] as usize);
            self.next[e + 1] += self.next[e];
            // At most WAVE at a time, and about as many each time.
            let len = n.div_ceil(n.div_ceil(WAVE).max(1)).max(1);
            for first in (0..n).step_by(len) {
                self.add(e, expert, start + first..start + n.min(first + len), &mut bytes, kernels)?;
            }
        }
        self.order.resize(self.next[experts.len()] as usize, 0);
        for (pick, id) in ids.iter().enumerate().filter(|(_, id)| picked(id)) {
            let next = &mut self.next[*id as usize];
            self.order[*next as usize] = pick as u32;
            *next += 1;
        }
        Ok(bytes)
    }

    /// Adds a group to the last wave, or begins another one with it.
    fn add(
        &mut self,
        e: usize,
        expert: &Expert,
        picks: Range<usize>,
        bytes: &mut PackedBytes,
        kernels: &Kernels,
    ) -> Result<(), DeviceError> {
        let n = picks.len();
        let gate = place(&mut bytes.inputs, kernels, &expert.gate, n)?;
        let up = if form(kernels, &expert.up, n) == form(kernels, &expert.gate, n) {
            gate
        } else {
            place(&mut bytes.inputs, kernels, &expert.up, n)?
        };
        let (at, end) = (self.groups.len(), picks.end);
        if self.waves.last().is_none_or(|wave| end - wave.picks.start > WAVE) {
            self.waves.push(Wave { groups: at..at, picks: picks.start..end, packed: 0 });
        }
        let Some(wave) = self.waves.last_mut() else { return Ok(()) };
        (wave.groups.end, wave.picks.end) = (at + 1, end);
        let down = place(&mut wave.packed, kernels, &expert.down, n)?;
        bytes.hidden = bytes.hidden.max(wave.packed);
        self.groups.push(Group { expert: e, picks, gate, up, down });
        Ok(())
    }

    /// Most picks of a wave.
    fn widest(&self) -> usize {
        self.waves.iter().map(|wave| wave.picks.len()).max().unwrap_or(0)
    }

    /// The group that place `at` of the order belongs to.
    fn group_of(&self, at: usize) -> &Group {
        &self.groups[self.groups.partition_point(|g| g.picks.end <= at)]
    }
}

/// The form of an expert's `n` rows.
fn form(kernels: &Kernels, mat: &Mat, n: usize) -> Form {
    kernels.form(mat.dtype, mat.layout, n)
}

/// Takes room for `n` packed rows at `end`.
fn place(end: &mut usize, kernels: &Kernels, mat: &Mat, n: usize) -> Result<usize, DeviceError> {
    let start = *end;
    let bytes = kernels.packed_len(form(kernels, mat, n), mat.n_in).checked_mul(n);
    *end = bytes.and_then(|b| b.checked_add(start)).ok_or(DeviceError::OutOfMemory { bytes: u64::MAX })?;
    Ok(start)
}

/// The three matrices of an expert.
fn mats<'a>(weights: &'a Weights, expert: &'a Expert) -> Result<[WeightMat<'a>; 3], DeviceError> {
    Ok([weights.mat(OP, &expert.gate)?, weights.mat(OP, &expert.up)?, weights.mat(OP, &expert.down)?])
}

pub(crate) fn expert_ffn(device: &mut CpuDevice, op: &ExpertFfn<'_>) -> Result<(), DeviceError> {
    device.with_out(OP, &op.out, |d, out| {
        let Scratch { packed, packed_hidden, rows, expert_out, experts: grouping, .. } = &mut d.scratch;
        let (weights, buffers, kernels, team) = (&d.weights, &d.buffers, &d.kernels, &mut d.team);
        let x = buffers.rows(OP, "input rows", &op.x)?;
        let picks = || DeviceError::Handle { op: OP, what: "picks" };
        let n_picks = op.x.n_rows.checked_mul(op.picks.top_k).filter(|&n| u32::try_from(n).is_ok());
        let n_picks = n_picks.ok_or_else(picks)?;
        let ids = buffers
            .get(OP, "picks", op.picks.ids)?
            .u32s()
            .and_then(|v| v.get(..n_picks))
            .ok_or_else(picks)?;
        let scores = buffers
            .get(OP, "picks", op.picks.scores)?
            .f32s()
            .and_then(|v| v.get(..n_picks))
            .ok_or_else(picks)?;
        for expert in op.experts {
            for mat in mats(weights, expert)? {
                team.prepare(|worker| mat.prepare(&mut worker.floats))?;
            }
        }
        let bytes = grouping.sort(ids, op.experts, kernels)?;
        let (Some(first), false) = (op.experts.first(), grouping.groups.is_empty()) else { return Ok(()) };
        let per_expert = n_picks.div_ceil(op.experts.len());
        let strips = [&first.gate, &first.down].map(|mat| Strips::new(mat, per_expert));
        let job = Job { op, weights, kernels, isa: d.isa, grouping, strips };
        let [gate_up, down] = strips.map(|strips| strips.tile(grouping.widest()));
        team.prepare(|worker| worker.tile.room::<f32>(down.max(2 * gate_up)).map(|_| ()))?;
        let packed = job.pack_inputs(x, scores, packed.room(bytes.inputs)?, team)?;
        let hidden = rows.room::<f32>(grouping.widest().saturating_mul(first.gate.n_out))?;
        let packed_hidden = packed_hidden.room(bytes.hidden)?;
        let top_k = op.picks.top_k;
        // With several experts a row, their outputs are first written side by side and then added in order of rank, so that
        // sums do not depend on who was first.
        let side = if top_k > 1 { expert_out.room::<f32>(out.len().saturating_mul(top_k))? } else { &mut [] };
        side.fill(0.0);
        for wave in &grouping.waves {
            job.gate_and_up(wave, packed, hidden, team)?;
            let packed = job.pack_hidden(wave, hidden, packed_hidden, team)?;
            job.down(wave, packed, if top_k > 1 { &mut *side } else { &mut *out }, team)?;
        }
        if top_k > 1 {
            let (side, width) = (&*side, op.out.width);
            team.chunks(out, width, side.len() as u64 / 4, |r, out, _| {
                for ranked in side[r * top_k * width..(r + 1) * top_k * width].chunks_exact(width) {
                    out.iter_mut().zip(ranked).for_each(|(out, v)| *out += *v);
                }
            })?;
        }
        Ok(())
    })
}

/// One op on its way.
#[derive(Clone, Copy)]
struct Job<'a> {
    op: &'a ExpertFfn<'a>,
    weights: &'a Weights,
    kernels: &'a Kernels,
    isa: crate::isa::Isa,
    grouping: &'a Grouping,
    /// How the outputs of the first two products and of the second are cut.
    strips: [Strips; 2],
}

impl Job<'_> {
    /// Packs the row of every pick, scaled by its score.
    fn pack_inputs<'p>(
        &self,
        x: &[f32],
        scores: &[f32],
        packed: &'p mut [u8],
        team: &mut Team<Worker>,
    ) -> Result<&'p [u8], DeviceError> {
        let (kernels, grouping, width) = (self.kernels, self.grouping, self.op.x.width);
        let bytes = Split::new(packed);
        team.run(grouping.order.len(), (grouping.order.len() * width) as u64 / 4, |at, _| {
            let (pick, group) = (grouping.order[at] as usize, grouping.group_of(at));
            let expert = &self.op.experts[group.expert];
            let row = pick / self.op.picks.top_k;
            let x = &x[row * width..(row + 1) * width];
            let pack = |mat: &Mat, start: usize| {
                let form = form(kernels, mat, group.picks.len());
                let len = kernels.packed_len(form, width);
                let start = start + (at - group.picks.start) * len;
                // SAFETY: each pick has rows of its own, in the room that `sort` gave its group.
                kernels.pack(form, x, width, scores[pick], unsafe { bytes.part(start..start + len) });
            };
            pack(&expert.gate, group.gate);
            if group.up != group.gate {
                pack(&expert.up, group.up);
            }
        })?;
        Ok(packed)
    }

    /// `hidden[at] = silu(gate x) * (up x)` for every place `at` of the wave.
    fn gate_and_up(
        &self,
        wave: &Wave,
        packed: &[u8],
        hidden: &mut [f32],
        team: &mut Team<Worker>,
    ) -> Result<(), DeviceError> {
        let experts = self.op.experts;
        let n_ff = experts[0].gate.n_out;
        let [strips, _] = self.strips;
        let groups = &self.grouping.groups[wave.groups.clone()];
        let work = self.cost(groups, |expert| [&expert.gate, &expert.up]);
        let hidden = Split::new(hidden);
        team.run(groups.len() * strips.len(), work, |task, worker| {
            let (group, outs) = (&groups[task / strips.len()], strips.get(task % strips.len()));
            let Ok([gate, up, _]) = mats(self.weights, &experts[group.expert]) else { return };
            let (gate_x, up_x) =
                (self.rows(packed, gate.mat, group.gate, group), self.rows(packed, up.mat, group.up, group));
            let Worker { kernel, tile, floats, .. } = worker;
            let n = group.picks.len();
            let (gates, ups) = tile.values_mut().split_at_mut(n * outs.len());
            let ups = &mut ups[..gates.len()];
            product(self.kernels, &gate, &gate_x.rows(0..n), outs.clone(), (kernel, floats), gates);
            product(self.kernels, &up, &up_x.rows(0..n), outs.clone(), (kernel, floats), ups);
            let tiles = gates.chunks_exact(outs.len()).zip(ups.chunks_exact(outs.len()));
            for (r, (gates, ups)) in tiles.enumerate() {
                let start = (group.picks.start - wave.picks.start + r) * n_ff;
                // SAFETY: only this task has the columns `outs` of this expert's rows.
                gated(self.isa, gates, ups, unsafe { hidden.part(start + outs.start..start + outs.end) });
            }
        })
    }

    /// Packs the hidden rows of a wave for the second product.
    fn pack_hidden<'p>(
        &self,
        wave: &Wave,
        hidden: &[f32],
        packed: &'p mut [u8],
        team: &mut Team<Worker>,
    ) -> Result<&'p [u8], DeviceError> {
        let (kernels, grouping, n_ff) = (self.kernels, self.grouping, self.op.experts[0].gate.n_out);
        let bytes = Split::new(packed);
        let n = wave.picks.len();
        team.run(n, (n * n_ff) as u64 / 4, |row, _| {
            let at = wave.picks.start + row;
            let group = grouping.group_of(at);
            let form = form(kernels, &self.op.experts[group.expert].down, group.picks.len());
            let len = kernels.packed_len(form, n_ff);
            let start = group.down + (at - group.picks.start) * len;
            // SAFETY: each pick has a row of its own, in the room that `sort` gave its group.
            let into = unsafe { bytes.part(start..start + len) };
            kernels.pack(form, &hidden[row * n_ff..(row + 1) * n_ff], n_ff, 1.0, into);
        })?;
        Ok(packed)
    }

    /// The second product of a wave, added to the rows of its picks in `out`, or to the picks themselves where a row has
    /// several.
    fn down(
        &self,
        wave: &Wave,
        packed: &[u8],
        out: &mut [f32],
        team: &mut Team<Worker>,
    ) -> Result<(), DeviceError> {
        let (experts, width) = (self.op.experts, self.op.out.width);
        let [_, strips] = self.strips;
        let groups = &self.grouping.groups[wave.groups.clone()];
        let work = self.cost(groups, |expert| [&expert.down]);
        let out = Split::new(out);
        team.run(groups.len() * strips.len(), work, |task, worker| {
            let (group, outs) = (&groups[task / strips.len()], strips.get(task % strips.len()));
            let Ok([_, _, down]) = mats(self.weights, &experts[group.expert]) else { return };
            let x = self.rows(packed, down.mat, group.down, group);
            let Worker { kernel, tile, floats, .. } = worker;
            let n = group.picks.len();
            let tile = &mut tile.values_mut()[..n * outs.len()];
            product(self.kernels, &down, &x.rows(0..n), outs.clone(), (kernel, floats), tile);
            for (r, tile) in tile.chunks_exact(outs.len()).enumerate() {
                let start = self.grouping.order[group.picks.start + r] as usize * width;
                // SAFETY: only this task has the columns `outs` of this pick; with one pick a row, of this row.
                let out = unsafe { out.part(start + outs.start..start + outs.end) };
                out.iter_mut().zip(tile).for_each(|(out, v)| *out += *v);
            }
        })
    }

    /// The packed rows of a group, in the form of `mat`.
    fn rows<'p>(&self, packed: &'p [u8], mat: &Mat, start: usize, group: &Group) -> PackedRows<'p> {
        let form = form(self.kernels, mat, group.picks.len());
        let stride = self.kernels.packed_len(form, mat.n_in);
        let bytes = &packed[start..start + stride * group.picks.len()];
        PackedRows { form, n_in: mat.n_in, stride, bytes }
    }

    fn cost<const N: usize>(&self, groups: &[Group], mats: impl Fn(&Expert) -> [&Mat; N]) -> u64 {
        let of = |g: &Group| mats(&self.op.experts[g.expert]).map(|mat| cost(mat, g.picks.len()));
        groups.iter().flat_map(of).sum()
    }
}
