//! [`RmsNorm`].

use super::simd::{self, Kernel, Simd};
use crate::device::CpuDevice;
use puna_core::{DeviceError, ops::RmsNorm};

pub(crate) fn rms_norm(device: &mut CpuDevice, op: &RmsNorm) -> Result<(), DeviceError> {
    const OP: &str = "RmsNorm";
    device.with_out(OP, &op.out, |d, out| {
        let weight = d.weights.vector(OP, op.weight)?;
        let x = d.buffers.rows(OP, "input rows", &op.x)?;
        let (isa, width, len) = (d.isa, op.x.width, super::rows_per_task(op.x.width) * op.x.width);
        d.team.prepare(|worker| weight.prepare(&mut worker.floats))?;
        d.team.chunks(out, len, x.len() as u64 / 4, |i, out, worker| {
            let x = &x[i * len..i * len + out.len()];
            simd::run(isa, Norm { x, weight: weight.get(&mut worker.floats), eps: op.eps, out, width });
        })
    })
}

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
        for (x, out) in self.x.chunks_exact(self.width).zip(self.out.chunks_exact_mut(self.width)) {
            let factor = inverse_rms(s, x, self.eps);
            for ((out, x), w) in out.iter_mut().zip(x).zip(self.weight) {
                *out = x * factor * w;
            }
        }
    }
}

/// `1 / sqrt(mean(x²) + eps)`.
#[inline(always)]
pub(super) fn inverse_rms<S: Simd>(s: S, x: &[f32], eps: f32) -> f32 {
    (1.0 / libm::sqrt(sum_squares(s, x) / x.len() as f64 + f64::from(eps))) as f32
}

/// Sums of a thousand squares are taken in F32 lanes and added up in F64: as exact as one could see in the result.
#[inline(always)]
fn sum_squares<S: Simd>(s: S, x: &[f32]) -> f64 {
    let mut total = 0.0;
    for x in x.chunks(1024) {
        let mut sums = [s.splat(0.0); 4];
        let mut quads = x.chunks_exact(4 * S::N);
        for quad in &mut quads {
            for (j, sum) in sums.iter_mut().enumerate() {
                // SAFETY: `quad` holds four vectors.
                let v = unsafe { s.load(quad.as_ptr().add(j * S::N)) };
                *sum = s.fma(v, v, *sum);
            }
        }
        let rest: f64 = quads.remainder().iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        total += rest + sums.map(|v| f64::from(s.sum(v))).iter().sum::<f64>();
    }
    total
}
