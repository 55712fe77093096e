//! Products of block-quantised weights with a few rows of 8-bit activations, any format: each block is unpacked to
//! bytes and multiplied at once.

use super::blocks::{Block, Shape, Step};
use super::lanes::{Kernel, Lanes};
use crate::matmul::{MatRef, Packed};
use core::marker::PhantomData;
use core::ops::Range;

/// The product with at most four rows, written to `tile` without the row scales.
pub(crate) struct Dot<'a, B> {
    pub(crate) w: MatRef<'a>,
    pub(crate) x: Packed<'a>,
    pub(crate) outs: Range<usize>,
    pub(crate) tile: &'a mut [f32],
    pub(crate) block: PhantomData<B>,
}

impl<B: Block> Kernel for Dot<'_, B> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let width = self.outs.len();
        for r in 0..self.x.n_rows {
            let x = self.x.q8(r);
            for (o, out) in self.outs.clone().zip(&mut self.tile[r * width..(r + 1) * width]) {
                let mut steps = [Step::ZERO; 8];
                let (mut sum, mut mins) = (l.fsplat(0.0), 0.0);
                for (b, block) in
                    self.w.row(o)[..x_blocks::<B>(self.x.n_in) * B::BYTES].chunks_exact(B::BYTES).enumerate()
                {
                    B::unpack(block, &mut steps);
                    for (s, step) in steps[..B::STEPS].iter().enumerate() {
                        let at = b * B::STEPS + s;
                        let dots = l.to_f32(
                            l.dot_signed(l.load(bytemuck::cast_ref(&step.codes)), l.load(x.step(at))),
                        );
                        let d = x.scale(at);
                        // The halves of a vector are the halves of a step.
                        let [s0, s1] = [step.scale[0] * d, step.scale[1] * d];
                        sum = l.ffma(dots, l.fload(&[s0, s0, s0, s0, s1, s1, s1, s1]), sum);
                        if B::Shape::AFFINE {
                            let [sum0, sum1] = x.sums(at).map(f32::from);
                            mins += d * (step.min[0] * sum0 + step.min[1] * sum1);
                        }
                    }
                }
                *out = l.fsum(sum) - mins;
            }
        }
    }
}

/// Blocks of a row of `n_in` values.
const fn x_blocks<B: Block>(n_in: usize) -> usize {
    n_in / (32 * B::STEPS)
}
