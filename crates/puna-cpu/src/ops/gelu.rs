//! [`Gelu`].

use super::simd::{self, Kernel, Simd};
use crate::device::CpuDevice;
use puna_core::{DeviceError, ops::Gelu};

pub(crate) fn gelu(device: &mut CpuDevice, op: &Gelu) -> Result<(), DeviceError> {
    device.with_out("Gelu", &op.x, |d, x| {
        let (isa, cost) = (d.isa, x.len() as u64 / 2);
        d.team.chunks(x, 4096, cost, |_, x, _| simd::run(isa, InPlace { x }))
    })
}

struct InPlace<'a> {
    x: &'a mut [f32],
}

impl Kernel for InPlace<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut vectors = self.x.chunks_exact_mut(S::N);
        for v in &mut vectors {
            // SAFETY: `v` holds one vector.
            unsafe { s.store(v.as_mut_ptr(), one(s, s.load(v.as_ptr()))) };
        }
        // Each value in the lanes of a vector, so that where a value stands does not show in its result.
        vectors.into_remainder().iter_mut().for_each(|x| *x = s.largest(one(s, s.splat(*x))));
    }
}

/// `max(x, 0) - |x| / 2 * erfc(|x| / sqrt(2))`: nothing cancels on either side of zero.
///
/// `erfc(z) = (a1 t + … + a5 t^5) exp(-z²)` with `t = 1 / (1 + p z)`, off by 1.5e-7 at most: Abramowitz and Stegun,
/// Handbook of Mathematical Functions, 7.1.26.
#[inline(always)]
fn one<S: Simd>(s: S, x: S::V) -> S::V {
    let c = |v| s.splat(v);
    let size = s.max(x, s.mul(x, c(-1.0)));
    let z = s.mul(size, c(core::f32::consts::FRAC_1_SQRT_2));
    let t = s.div(c(1.0), s.fma(z, c(0.327_591_1), c(1.0)));
    let mut p = c(1.061_405_4);
    for a in [-1.453_152_1, 1.421_413_8, -0.284_496_74, 0.254_829_6] {
        p = s.fma(p, t, c(a));
    }
    let erfc = s.mul(s.mul(p, t), s.exp(s.mul(s.mul(z, z), c(-1.0))));
    s.fma(s.mul(size, c(-0.5)), erfc, s.max(x, c(0.0)))
}
