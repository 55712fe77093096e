//! Positional embeddings.

use super::expect;
use crate::{DeviceError, Rows, Vector};

/// `x[r] += table[r % n]` for a table of `n` rows, `n = table.len / x.width`. In place.
#[derive(Clone, Debug)]
pub struct AddRows {
    /// `[m * n, width]`, changed in place.
    pub x: Rows,
    /// `[n, width]`.
    pub table: Vector,
}

impl AddRows {
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        const OP: &str = "AddRows";
        let n = self.table.len.checked_div(self.x.width).unwrap_or(0);
        expect(OP, "table length in whole rows", self.table.len, n * self.x.width)?;
        let groups = self.x.n_rows.checked_div(n).unwrap_or(0);
        expect(OP, "rows in whole tables", self.x.n_rows, groups * n)
    }
}
