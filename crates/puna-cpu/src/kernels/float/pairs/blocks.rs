//! Weights of block formats become columns of BF16 pairs.
//!
//! A product with tiles has no place for the scales of 32 weights, so weights are multiplied by them first, and rounded. What
//! that loses is less than what 8 bits lose of activations: SmolLM2-135M-Instruct in Q4_1 over 14 kB of Genesis, 3.3e-4 nats
//! from F32 activations, and 2.4e-3 with the products of bytes of AVX-512 (`puna perplexity --against`).
//!
//! One thread of a Sapphire Rapids that does 580 G products of bytes a second, 8, 12, 16, 32 and 512 rows, GOP/s, builds in turns,
//! the better of two runs (`roofline --rows`): by bytes ([`narrow`](crate::kernels::narrow)) Q8_0 108, 119, 125, 142, 310 and Q4_K
//! 102, 84, 130, 151, 354; so 91, 131, 132, 281, 743 and 66, 103, 129, 229, 699. With 32 rows two thirds of the time goes into
//! making the columns, most of that into widening codes and rounding weights: 24 instructions for 64 of them. Bytes in tiles
//! would need no rounding, but scales for every 32 inputs, where a tile is then only half full; not tried.

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
        let keep = Pairs { words, ahead, block: PhantomData::<B> };
        kernels.enter(Unpack::<B, _>::new(w, outs, &steps, keep));
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
