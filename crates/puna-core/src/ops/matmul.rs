//! Product of activations with a weight matrix.

use super::{check_mat, distinct, expect};
use crate::{DeviceError, Mat, Rows, Vector};

/// `out[r][o] = sum over i of x[r][i] * w[o][i] * scale[o] + bias[o]`, added to what `out` holds if `add`.
///
/// A device may quantise the activations to 8-bit integers (block formats) or round them to BF16 (BF16 weights)
/// if it was opened so; the reference does not.
#[derive(Clone, Debug)]
pub struct MatMul<'a> {
    /// `[n, n_in]`.
    pub x: Rows,
    /// `n_in` to `n_out`.
    pub w: &'a Mat,
    /// `n_out` values.
    pub bias: Option<Vector>,
    /// `[n, n_out]`.
    pub out: Rows,
    /// Add to `out` instead of overwriting it.
    pub add: bool,
}

impl MatMul<'_> {
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        const OP: &str = "MatMul";
        distinct(OP, self.x, self.out)?;
        check_mat(OP, self.w)?;
        expect(OP, "input width", self.x.width, self.w.n_in)?;
        expect(OP, "output width", self.out.width, self.w.n_out)?;
        expect(OP, "output rows", self.out.n_rows, self.x.n_rows)?;
        match self.bias {
            Some(bias) => expect(OP, "bias length", bias.len, self.w.n_out),
            None => Ok(()),
        }
    }
}
