//! The most likely tokens, so that a whole row of logits need not leave the device.

use super::{distinct, expect};
use crate::{DeviceError, Rows};

/// The `k` largest values of each row with their indices, and what else a sampler must know of the row.
///
/// A row of `out` holds `k` values, the largest first and of equal ones the lowest index first; then their `k` indices as
/// F32 numbers; then the natural logarithm of the sum of the exponentials of the row; then how many of the row's values
/// are not finite. If any is not, the other numbers of the row mean nothing.
#[derive(Clone, Debug)]
pub struct TopK {
    /// `[n, vocab]`; at most 2²⁴ values in a row, so that indices are exact.
    pub x: Rows,
    /// How many; at most [`MOST`](Self::MOST) and at most a row's values.
    pub k: usize,
    /// `[n, 2 k + 2]`.
    pub out: Rows,
}

impl TopK {
    /// The largest `k`.
    pub const MOST: usize = 256;

    pub(super) fn check(&self) -> Result<(), DeviceError> {
        const OP: &str = "TopK";
        distinct(OP, self.x, self.out)?;
        let limit = |what, limit: usize, found: usize| {
            let (limit, found) = (limit as u64 + 1, found as u64);
            if found < limit { Ok(()) } else { Err(DeviceError::Range { op: OP, what, limit, found }) }
        };
        limit("values of a row", 1 << 24, self.x.width)?;
        limit("k", Self::MOST.min(self.x.width), self.k)?;
        expect(OP, "output rows", self.out.n_rows, self.x.n_rows)?;
        expect(OP, "output width", self.out.width, 2 * self.k + 2)
    }
}
