//! Normalisation of mean and variance.

use super::{distinct, expect};
use crate::{DeviceError, Rows, Vector};

/// `out[r][i] = (x[r][i] - mean(x[r])) / sqrt(var(x[r]) + eps) * weight[i] + bias[i]`, with the biased variance.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// `[n, width]`.
    pub x: Rows,
    /// `width` factors.
    pub weight: Vector,
    /// `width` summands.
    pub bias: Vector,
    /// Added to the variance.
    pub eps: f32,
    /// `[n, width]`.
    pub out: Rows,
}

impl LayerNorm {
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        const OP: &str = "LayerNorm";
        distinct(OP, self.x, self.out)?;
        expect(OP, "output rows", self.out.n_rows, self.x.n_rows)?;
        expect(OP, "output width", self.out.width, self.x.width)?;
        expect(OP, "weight length", self.weight.len, self.x.width)?;
        expect(OP, "bias length", self.bias.len, self.x.width)
    }
}
