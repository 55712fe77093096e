//! What the kernels of block-quantised weights and many rows share: a slab of weights, some outputs by some steps of 32
//! inputs, is unpacked eight outputs at a time; how the unpacked steps are kept is up to the kernel.

use super::blocks::{Block, Shape, Sides, Step};
use super::lanes::{Kernel, Lanes};
use crate::matmul::MatRef;
use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::Range;

/// Where unpacked steps go.
pub(crate) trait Keep {
    /// Keeps step `at` of the slab for the outputs `first .. first + 8` of the slab: their codes, and for each half their
    /// scales and minima.
    fn keep<L: Lanes>(
        &mut self,
        l: L,
        at: usize,
        first: usize,
        codes: [L::V; 8],
        scale: &[[f32; 8]; 2],
        min: &[[f32; 8]; 2],
    );
}

/// Unpacks a slab. Beyond the last output, its weights are repeated: nothing reads their sums.
pub(crate) struct Unpack<'a, B, K> {
    w: MatRef<'a>,
    outs: &'a Range<usize>,
    steps: &'a Range<usize>,
    keep: K,
    block: PhantomData<B>,
}

impl<'a, B: Block, K: Keep> Unpack<'a, B, K> {
    /// The slab of these outputs and of these steps, which are whole blocks.
    pub(crate) fn new(w: MatRef<'a>, outs: &'a Range<usize>, steps: &'a Range<usize>, keep: K) -> Self {
        Self { w, outs, steps, keep, block: PhantomData }
    }
}

impl<B: Block, K: Keep> Kernel for Unpack<'_, B, K> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { w, outs, steps, mut keep, .. } = self;
        let range = steps.start / B::STEPS * B::BYTES..steps.end / B::STEPS * B::BYTES;
        let (mut unpacked, mut sides) = ([[Step::ZERO; 8]; 8], Sides::ZERO);
        for first in (0..outs.len()).step_by(8) {
            let mut rows = [&[][..]; 8];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = &w.row(outs.start + (first + i).min(outs.len() - 1))[range.clone()];
            }
            for b in 0..steps.len() / B::STEPS {
                let mut blocks = [&[][..]; 8];
                for (block, row) in blocks.iter_mut().zip(&rows) {
                    *block = &row[b * B::BYTES..(b + 1) * B::BYTES];
                }
                B::sides(l, &blocks, &mut unpacked, &mut sides);
                for (s, (scale, min)) in sides.scale.iter().zip(&sides.min).enumerate().take(B::STEPS) {
                    let mut codes = [l.splat8(0); 8];
                    for ((codes, block), steps) in codes.iter_mut().zip(blocks).zip(&unpacked) {
                        *codes = B::step_codes(l, block, s, &steps[s]);
                    }
                    keep.keep(l, b * B::STEPS + s, first, codes, scale, min);
                }
            }
        }
    }
}

/// What the minima of half `half` of a step are as they are kept: the first half's meets the sum of the first half alone, the
/// second one's that of the whole step.
#[inline(always)]
pub(crate) fn minima<S: Shape>(min: &[[f32; 8]; 2], half: usize) -> [f32; 8] {
    let less = if S::HALVES && half == 0 { min[1] } else { [0.0; 8] };
    core::array::from_fn(|i| min[half][i] - less[i])
}

/// Working memory of so many values.
pub(crate) fn filled<T: Clone>(value: T, len: usize) -> Result<Vec<T>, TryReserveError> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(len)?;
    vec.resize(len, value);
    Ok(vec)
}

/// Consecutive ranges of `len`, the last one shorter.
pub(crate) fn chunks(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(len).map(move |start| start..end.min(start + len))
}
