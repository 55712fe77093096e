//! The gated first half of a feed-forward network.

use super::{check_mat, distinct, expect};
use crate::{DeviceError, Mat, Rows};

/// `out[r][o] = silu(sum_i x[r][i] * gate[o][i]) * (sum_i x[r][i] * up[o][i])`, with `silu(a) = a / (1 + exp(-a))`.
///
/// Fused because both products read the same activations, and so that one pass over the threads does both.
#[derive(Clone, Debug)]
pub struct SwiGlu<'a> {
    /// `[n, hidden]`.
    pub x: Rows,
    /// `hidden` to `n_ff`.
    pub gate: &'a Mat,
    /// `hidden` to `n_ff`.
    pub up: &'a Mat,
    /// `[n, n_ff]`.
    pub out: Rows,
}

impl SwiGlu<'_> {
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        const OP: &str = "SwiGlu";
        distinct(OP, self.x, self.out)?;
        check_mat(OP, self.gate)?;
        check_mat(OP, self.up)?;
        expect(OP, "gate inputs", self.gate.n_in, self.x.width)?;
        expect(OP, "up inputs", self.up.n_in, self.x.width)?;
        expect(OP, "up outputs", self.up.n_out, self.gate.n_out)?;
        expect(OP, "output width", self.out.width, self.gate.n_out)?;
        expect(OP, "output rows", self.out.n_rows, self.x.n_rows)
    }
}
