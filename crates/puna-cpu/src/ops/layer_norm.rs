//! [`LayerNorm`].

use super::simd::{self, Kernel, Simd};
use crate::device::CpuDevice;
use puna_core::{DeviceError, ops::LayerNorm};

pub(crate) fn layer_norm(device: &mut CpuDevice, op: &LayerNorm) -> Result<(), DeviceError> {
    const OP: &str = "LayerNorm";
    device.with_out(OP, &op.out, |d, out| {
        let (weight, bias) = (d.weights.vector(OP, op.weight)?, d.weights.vector(OP, op.bias)?);
        let x = d.buffers.rows(OP, "input rows", &op.x)?;
        let (isa, width, len) = (d.isa, op.x.width, super::rows_per_task(op.x.width) * op.x.width);
        d.team.prepare(|worker| {
            weight.prepare(&mut worker.floats)?;
            bias.prepare(&mut worker.floats)
        })?;
        d.team.chunks(out, len, x.len() as u64 / 3, |i, out, worker| {
            let x = &x[i * len..i * len + out.len()];
            // One after the other: both may need the worker's memory.
            let weight = weight.get(&mut worker.floats);
            simd::run(isa, Norm { x, weight, eps: op.eps, out: &mut *out, width });
            let bias = bias.get(&mut worker.floats);
            for out in out.chunks_exact_mut(width.max(1)) {
                out.iter_mut().zip(bias).for_each(|(out, b)| *out += b);
            }
        })
    })
}

/// All but the bias.
struct Norm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
    width: usize,
}

impl Kernel for Norm<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = self.width.max(1);
        for (x, out) in self.x.chunks_exact(n).zip(self.out.chunks_exact_mut(n)) {
            let mean = (sum(s, x, |_, v| v) / n as f64) as f32;
            let centered = s.splat(-mean);
            let squares = sum(s, x, |s, v| {
                let v = s.add(v, centered);
                s.mul(v, v)
            });
            let factor = (1.0 / libm::sqrt(squares / n as f64 + f64::from(self.eps))) as f32;
            for ((out, x), w) in out.iter_mut().zip(x).zip(self.weight) {
                *out = (x - mean) * factor * w;
            }
        }
    }
}

/// The sum of `f` over all values: of a thousand in F32 lanes, of these sums in F64.
#[inline(always)]
fn sum<S: Simd>(s: S, x: &[f32], f: impl Fn(S, S::V) -> S::V) -> f64 {
    let mut total = 0.0;
    for x in x.chunks(1024) {
        let mut sums = [s.splat(0.0); 4];
        let mut quads = x.chunks_exact(4 * S::N);
        for quad in &mut quads {
            for (j, sum) in sums.iter_mut().enumerate() {
                // SAFETY: `quad` holds four vectors.
                let v = unsafe { s.load(quad.as_ptr().add(j * S::N)) };
                *sum = s.add(f(s, v), *sum);
            }
        }
        // One value at a time, in the lanes of a vector that all hold it.
        let one = |v: &f32| f64::from(s.largest(f(s, s.splat(*v))));
        total += quads.remainder().iter().map(one).sum::<f64>();
        total += sums.map(|v| f64::from(s.sum(v))).iter().sum::<f64>();
    }
    total
}
