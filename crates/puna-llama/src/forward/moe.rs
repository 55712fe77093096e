//! The mixture of experts: a shared expert for every token, and the routed ones that its router chooses.

use super::{Llama, issue};
use crate::Result;
use crate::scratch::Scratch;
use crate::weights::Moe;
use puna_core::ops::{ExpertFfn, Route};
use puna_core::{Device, DeviceError, Rows};

impl Llama {
    /// `h += shared(y) + sum over the chosen experts e of e(score_e * y)`.
    pub(super) fn moe(&self, device: &mut dyn Device, s: &Scratch, w: &Moe, y: Rows, h: Rows) -> Result<()> {
        let picks = s.picks().ok_or(DeviceError::Handle { op: "Route", what: "picks" })?;
        issue(device, Route { x: y, router: &w.router, picks })?;
        self.dense(device, s, &w.shared, y, h)?;
        issue(device, ExpertFfn { x: y, experts: &w.experts, picks, out: h })
    }
}
