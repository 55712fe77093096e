//! Any format: each block is unpacked to bytes first.

use super::{RowDot, prefetch};
use crate::kernels::blocks::{Block, Shape, Step};
use crate::kernels::lanes::Lanes;
use crate::matmul::Q8Row;
use core::marker::PhantomData;

/// Rows of any block format.
pub(crate) struct Any<B>(PhantomData<B>);

impl<B: Block> RowDot for Any<B> {
    const FEW_ROWS: usize = 4;

    #[inline(always)]
    fn dots<L: Lanes, const N: usize>(l: L, row: &[u8], x: &[Q8Row<'_>; N], n_in: usize) -> [f32; N] {
        let mut steps = [Step::ZERO; 8];
        let (mut sums, mut mins) = ([l.fsplat(0.0); N], [0.0; N]);
        let row = &row[..n_in / (32 * B::STEPS) * B::BYTES];
        for (b, block) in row.chunks_exact(B::BYTES).enumerate() {
            prefetch(l, block);
            B::unpack(l, block, &mut steps);
            for (s, step) in steps[..B::STEPS].iter().enumerate() {
                let at = b * B::STEPS + s;
                let w = l.load(bytemuck::cast_ref(&step.codes));
                // The halves of a vector are the halves of a step.
                let scale = if B::Shape::HALVES {
                    l.fsplat_halves(step.scale[0], step.scale[1])
                } else {
                    l.fsplat(step.scale[0])
                };
                for (i, x) in x.iter().map(|x| &x.plane).enumerate() {
                    let dots = l.to_f32(l.dot_signed(w, l.load(x.step(at))));
                    let d = x.scale(at);
                    sums[i] = l.ffma(l.fmul(dots, l.fsplat(d)), scale, sums[i]);
                    if B::Shape::AFFINE {
                        let [sum0, sum1] = x.sums(at).map(f32::from);
                        mins[i] += d * (step.min[0] * sum0 + step.min[1] * sum1);
                    }
                }
            }
        }
        let mut out = [0.0; N];
        for (i, out) in out.iter_mut().enumerate() {
            *out = l.fsum(sums[i]) - mins[i];
        }
        out
    }
}
