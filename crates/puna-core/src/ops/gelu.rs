//! The activation of the vision tower.

use crate::{DeviceError, Rows};

/// `x = 0.5 * x * (1 + erf(x / sqrt(2)))`: the exact form, not the one with tanh. In place.
#[derive(Clone, Debug)]
pub struct Gelu {
    /// `[n, width]`, changed in place.
    pub x: Rows,
}

impl Gelu {
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}
