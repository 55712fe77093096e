//! What a session costs its device: counts and times.

use crate::error::{Error, Lift};
use crate::{OpTime, Session};
use alloc::vec::Vec;

impl Session {
    /// What the device has counted for this session, as names and numbers that only grow: a GPU's `dispatches`, `submits`,
    /// `reads` and more; `moves` and `moved bytes` of rows between devices. A processor counts nothing.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.state.device().counters()
    }

    /// Begins to measure how long the device's kernels take, or ends it. Returns whether the device can: a GPU with
    /// timestamps does. What is measured takes longer in all.
    ///
    /// # Errors
    /// [`ErrorKind::Device`](crate::ErrorKind::Device), [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory).
    pub fn profile(&mut self, on: bool) -> Result<bool, Error> {
        self.state.device_mut().profile(on).lift()
    }

    /// What was measured since [`profile`](Self::profile) was switched on, the longest first.
    ///
    /// # Errors
    /// [`ErrorKind::Device`](crate::ErrorKind::Device).
    pub fn times(&mut self) -> Result<Vec<OpTime>, Error> {
        Ok(self.state.device_mut().times().lift()?.into_iter().map(OpTime::new).collect())
    }
}
