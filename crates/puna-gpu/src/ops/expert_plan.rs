//! The plan of many picks: sorted by expert, cut into tiles, and counted on the GPU.

use super::Ops;
use crate::buffer::{Operand, Span};
use crate::context::Context;
use crate::recorder::{Grid, Scratch};
use puna_core::DeviceError;
use puna_shaders::Kernel;

/// The sorted picks of a batch.
pub(super) struct Plan {
    pub(super) buffer: Operand,
    /// At most so many tiles.
    pub(super) tiles: usize,
    /// First of the sorted picks.
    pub(super) sorted: u32,
    /// Columns of the grids in it, one after the other.
    grids: Vec<u32>,
}

impl Plan {
    /// The workgroups of a product: so many columns for each tile that there is, or for each that there may be.
    pub(super) fn grid(&self, ctx: &Context, columns: u32) -> Grid {
        let written = self.grids.iter().position(|c| *c == columns);
        match written.filter(|_| ctx.indirect) {
            Some(g) => Grid::Indirect(self.buffer.buffer.raw.clone(), 4 * (Kernel::PLAN_AT + 3 * g) as u64),
            None => Grid::Direct(columns, self.tiles as u32),
        }
    }
}

impl Ops<'_> {
    /// Sorts the picks of a chunk by expert, for products whose grids have these numbers of columns.
    pub(super) fn sort(
        &mut self,
        ids: &Operand,
        rows: usize,
        (picks, tile): (usize, u32),
        experts: usize,
        mut grids: Vec<u32>,
    ) -> Result<Plan, DeviceError> {
        grids.sort_unstable();
        grids.dedup();
        // The rest, if matrices are split into that many shapes, is dispatched directly.
        grids.truncate(Kernel::PLAN_GRIDS);
        let tiles = picks / tile as usize + experts.min(picks);
        let sorted = Kernel::PLAN_HEAD + 3 * tiles;
        let buffer = Operand::new(self.rec.scratch(self.ctx, Scratch::Plan, sorted + picks)?, 1);
        let (ids, pick_base) = ids.span(self.ctx, rows);
        let head = [picks as u32, experts as u32, tile, pick_base, sorted as u32, grids.len() as u32, 0, 0];
        let params: Vec<u32> = head.into_iter().chain(grids.iter().copied()).collect();
        let spans = [ids, Span::whole(&buffer.buffer)];
        self.rec.dispatch(self.ctx, Kernel::SortPicks, &params, &spans, (1, 1), picks as u64)?;
        Ok(Plan { buffer, tiles, sorted: sorted as u32, grids })
    }
}

#[cfg(test)]
mod tests {
    use crate::{GpuDevice, Options, Tier};
    use puna_core::ops::{ExpertFfn, Picks, Route};
    use puna_core::{DType, Device, Elem, Expert, Mat, Region, Rows};
    use puna_shaders::{Job, Kernel, Shape};

    const EXPERTS: usize = 5;
    const HIDDEN: usize = 40;
    const FF: usize = 72;

    /// A matrix of ones, or one that lets input `i` be the logit of expert `i`.
    fn mat(gpu: &mut GpuDevice, n_out: usize, n_in: usize, router: bool) -> Mat {
        let value = |i: usize| if !router || i / n_in == i % n_in { 1.0f32 } else { 0.0 };
        let bytes = (0..n_out * n_in).flat_map(|i| value(i).to_le_bytes()).collect();
        Mat::plain(gpu.load(&Region::from_vec(bytes)).unwrap(), DType::F32, n_out, n_in)
    }

    /// The grids that the GPU has written after rows went to these experts, and the sum of the rows' outputs.
    fn written(gpu: &mut GpuDevice, to: &[usize]) -> (Vec<[u32; 3]>, f32) {
        let n = to.len();
        let row = |&e: &usize| (0..HIDDEN).map(move |i| if i == e { 9.0f32 } else { 0.0 });
        let x = Rows::new(gpu.alloc(Elem::F32, n * HIDDEN).unwrap(), n, HIDDEN);
        gpu.write(x.buf, 0, &to.iter().flat_map(row).collect::<Vec<_>>()).unwrap();
        let out = Rows { buf: gpu.alloc(Elem::F32, n * HIDDEN).unwrap(), ..x };
        let router = mat(gpu, EXPERTS, HIDDEN, true);
        let (ids, scores) = (gpu.alloc(Elem::U32, n).unwrap(), gpu.alloc(Elem::F32, n).unwrap());
        let picks = Picks { ids, scores, top_k: 1 };
        gpu.issue(&Route { x, router: &router, always: None, picks }.into()).unwrap();
        let one = Expert {
            gate: mat(gpu, FF, HIDDEN, false),
            up: mat(gpu, FF, HIDDEN, false),
            down: mat(gpu, HIDDEN, FF, false),
        };
        gpu.issue(&ExpertFfn { x, experts: &[one; EXPERTS], picks, out }.into()).unwrap();
        let plan = gpu.plan(Kernel::PLAN_HEAD);
        let grids = plan[Kernel::PLAN_AT..].chunks_exact(3).take(2).map(|g| [g[0], g[1], g[2]]);
        let mut values = vec![0.0; out.len()];
        gpu.read(&out, &mut values).unwrap();
        (grids.collect(), values.iter().sum())
    }

    /// As many workgroups as there are tiles of picks, whichever experts they fall on; and the same sums without.
    #[test]
    fn workgroups_are_those_of_the_tiles() {
        for tier in [Tier::Thread, Tier::Shared] {
            let open = |yes| GpuDevice::open(&Options::new().tier(tier).indirect(yes)).unwrap();
            let (mut gpu, mut direct) = (open(true), open(false));
            let mut columns = [(FF, Job::ExpertSwiGlu), (HIDDEN, Job::ExpertDown)]
                .map(|(rows, job)| (rows as u32).div_ceil(tier.outputs(job, Shape::Tile)));
            columns.sort_unstable();
            assert_ne!(columns[0], columns[1]);
            for to in [vec![2; 40], [vec![4; 33], vec![0]].concat(), (0..40).map(|i| i % 5).collect()] {
                let of = |e| to.iter().filter(|t| **t == e).count().div_ceil(tier.tile() as usize);
                let tiles = (0..EXPERTS).map(of).sum::<usize>() as u32;
                let (grids, sum) = written(&mut gpu, &to);
                assert_eq!(grids, columns.map(|c| [c, tiles, 1]), "{to:?}");
                // What is dispatched without counting: more.
                assert!(tiles < (to.len() / tier.tile() as usize + EXPERTS) as u32);
                assert_eq!(sum, written(&mut direct, &to).1, "{to:?}");
                assert!(sum > 0.0);
            }
        }
    }
}
