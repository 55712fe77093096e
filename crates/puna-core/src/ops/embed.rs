//! Rows of the embedding table.

use super::{check_mat, expect};
use crate::{DeviceError, Layout, Mat, Rows};

/// `out[r] = table[tokens[r]]`, dequantised.
#[derive(Clone, Debug)]
pub struct EmbedRows<'a> {
    /// `[vocab, hidden]`, [`Layout::OutIn`].
    pub table: &'a Mat,
    /// One token id a row, each below `vocab`.
    pub tokens: &'a [u32],
    /// `[tokens.len(), hidden]`.
    pub out: Rows,
}

impl EmbedRows<'_> {
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        const OP: &str = "EmbedRows";
        check_mat(OP, self.table)?;
        if self.table.layout != Layout::OutIn {
            return Err(DeviceError::Unsupported { op: OP, dtype: self.table.dtype });
        }
        expect(OP, "output rows", self.out.n_rows, self.tokens.len())?;
        expect(OP, "output width", self.out.width, self.table.n_in)?;
        match self.tokens.iter().find(|&&t| t as usize >= self.table.n_out) {
            Some(&t) => Err(DeviceError::Range {
                op: OP,
                what: "token id",
                limit: self.table.n_out as u64,
                found: t.into(),
            }),
            None => Ok(()),
        }
    }
}
