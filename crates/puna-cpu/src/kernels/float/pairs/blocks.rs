//! Weights of block formats become columns of BF16 pairs.
//!
//! A product with tiles has no place for the scales of 32 weights, so weights are multiplied by them first, and rounded. What
//! that loses is less than what 8 bits lose of activations.

use super::many::{Fill, GROUP, Panel};
use crate::kernels::blocks::{Block, Shape, Step};
use crate::kernels::lanes::Columns;
use crate::kernels::panel::MAX_WIDTH as WIDTH;
use crate::kernels::slab::{Ahead, Keep, Unpack};
use crate::matmul::Kernels;
use core::marker::PhantomData;

/// Rows of blocks.
pub(super) struct Blocks<B>(PhantomData<B>);

impl<B: Block> Fill for Blocks<B> {
    fn bytes(input: usize) -> usize {
        input / 32 / B::STEPS * B::BYTES
    }
    fn fill(kernels: &Kernels, panel: Panel<'_>) {
        let Panel { w, depth, outs, words, ahead } = panel;
        let steps = depth.start / 32..depth.end / 32;
        kernels.enter(Unpack::<B, _>::new(w, outs, &steps, Pairs { words, ahead, block: PhantomData::<B> }));
    }
}

/// Keeps steps as columns of pairs.
struct Pairs<'a, 'w, B> {
    words: &'a mut [u32],
    ahead: &'a mut Ahead<'w>,
    block: PhantomData<B>,
}

impl<B: Block> Keep for Pairs<'_, '_, B> {
    #[inline(always)]
    fn keep<L: Columns>(&mut self, l: L, at: usize, first: usize, step: Step<L>) {
        // As many lines as are read, and a little more.
        for _ in 0..const { (L::LANES * B::BYTES).div_ceil(64 * B::STEPS) } {
            self.ahead.step::<L, 1>(l);
        }
        let (mut scale, mut min) = (step.scale, step.min);
        for half in 0..if B::Shape::HALVES { 2 } else { 1 } {
            scale[half] = l.gone_nan(scale[half]);
            if B::Shape::AFFINE {
                // What is added.
                min[half] = l.gmul(l.gone_nan(min[half]), l.gsplat(-1.0));
            }
        }
        let to = &mut self.words[first / WIDTH * GROUP + at * 16 * WIDTH + first % WIDTH..];
        let mut lines = to.chunks_mut(WIDTH);
        for (j, codes) in step.codes.into_iter().enumerate() {
            let half = if B::Shape::HALVES { j / 4 } else { 0 };
            let mut weights = [scale[half]; 4];
            for (i, weight) in weights.iter_mut().enumerate() {
                let code = l.to_g(l.tbyte(codes, i));
                *weight = match B::Shape::AFFINE {
                    true => l.gfma(code, *weight, min[half]),
                    false => l.gmul(code, *weight),
                };
            }
            let [a, b, c, d] = weights;
            for pairs in [l.tbf16_pairs(a, b), l.tbf16_pairs(c, d)] {
                if let Some(line) = lines.next() {
                    l.tstore(pairs, line);
                }
            }
        }
    }
}
