//! Attention within groups of rows, in both directions.

use super::{distinct, expect};
use crate::{DeviceError, Rows};

/// Softmax attention in which every row sees all rows of its group and no other.
///
/// Rows come in groups of `group` (the tokens of one tile). For each group and each head of `head_dim` values:
/// `out = sum_k softmax_k(scale * q·key_k) * value_k`. There is no cache and no mask.
#[derive(Clone, Debug)]
pub struct AttendAll {
    /// `[groups * group, n_heads * head_dim]`.
    pub q: Rows,
    /// As `q`.
    pub k: Rows,
    /// As `q`.
    pub v: Rows,
    /// As `q`.
    pub out: Rows,
    /// Rows of one group.
    pub group: usize,
    /// Values of one head.
    pub head_dim: usize,
    /// Factor of the scores, `1 / sqrt(head_dim)`.
    pub scale: f32,
}

impl AttendAll {
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        const OP: &str = "AttendAll";
        let q = self.q;
        for (what_rows, what_width, other) in [
            ("key rows", "key width", self.k),
            ("value rows", "value width", self.v),
            ("output rows", "output width", self.out),
        ] {
            expect(OP, what_rows, other.n_rows, q.n_rows)?;
            expect(OP, what_width, other.width, q.width)?;
        }
        [q, self.k, self.v].iter().try_for_each(|&x| distinct(OP, x, self.out))?;
        let heads = q.width.checked_div(self.head_dim).unwrap_or(0);
        expect(OP, "width in whole heads", q.width, heads * self.head_dim)?;
        let groups = q.n_rows.checked_div(self.group).unwrap_or(0);
        expect(OP, "rows in whole groups", q.n_rows, groups * self.group)
    }
}
