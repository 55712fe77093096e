//! Root-mean-square normalisation.

use super::{distinct, expect};
use crate::{DeviceError, Rows, Vector};

/// `out[r][i] = x[r][i] / sqrt(mean(x[r]²) + eps) * weight[i]`.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    /// `[n, width]`.
    pub x: Rows,
    /// `width` factors.
    pub weight: Vector,
    /// Added to the mean square.
    pub eps: f32,
    /// `[n, width]`.
    pub out: Rows,
}

impl RmsNorm {
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        const OP: &str = "RmsNorm";
        distinct(OP, self.x, self.out)?;
        expect(OP, "output rows", self.out.n_rows, self.x.n_rows)?;
        expect(OP, "output width", self.out.width, self.x.width)?;
        expect(OP, "weight length", self.weight.len, self.x.width)
    }
}
