//! Rows on their way from one buffer to another, which may be on another device.

use super::{distinct, expect};
use crate::{DeviceError, Rows};

/// `to[r] = from[r]`, or `to[r] += from[r]`. The only op whose operands may be at different places of a
/// [`Composite`](crate::Composite).
#[derive(Clone, Debug)]
pub struct CopyRows {
    /// `[n, width]`.
    pub from: Rows,
    /// `[n, width]`, in another buffer.
    pub to: Rows,
    /// Whether to add to what is there.
    pub add: bool,
}

impl CopyRows {
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        const OP: &str = "CopyRows";
        distinct(OP, self.from, self.to)?;
        expect(OP, "row width", self.to.width, self.from.width)?;
        expect(OP, "rows", self.to.n_rows, self.from.n_rows)
    }
}
