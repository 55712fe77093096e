//! The mixture of experts: a shared expert for every token, and the routed ones that its router chooses.

use super::{Llama, issue};
use crate::Result;
use crate::scratch::Scratch;
use crate::weights::Moe;
use puna_core::ops::{CopyRows, ExpertFfn, Route};
use puna_core::{Device, DeviceError, Rows};

impl Llama {
    /// `h += shared(y) + sum over the chosen experts e of e(score_e * y)`.
    pub(super) fn moe(&self, device: &mut dyn Device, s: &Scratch, w: &Moe, y: Rows, h: Rows) -> Result<()> {
        let missing = DeviceError::Handle { op: "Route", what: "picks" };
        // Fewer and larger ops for a device that is told what to do from afar.
        if let Some(experts) = w.with_shared().filter(|_| y.n_rows == 1 && device.far(y.buf)) {
            let picks = s.picks_and_shared().ok_or(missing)?;
            let always = Some(w.experts().len() as u32);
            issue(device, Route { x: y, router: &w.router, always, picks })?;
            return issue(device, ExpertFfn { x: y, experts, picks, out: h });
        }
        let picks = s.picks().ok_or(missing)?;
        issue(device, Route { x: y, router: &w.router, always: None, picks })?;
        self.dense(device, s, &w.shared, y, h)?;
        issue(device, ExpertFfn { x: y, experts: w.experts(), picks, out: h })
    }

    /// The same with the router and its experts at another place: they work there while the shared expert is computed here.
    pub(super) fn moe_apart(
        &self,
        device: &mut dyn Device,
        (s, far): (&Scratch, &Scratch),
        w: &Moe,
        y: Rows,
        h: Rows,
    ) -> Result<()> {
        let picks = far.picks().ok_or(DeviceError::Handle { op: "Route", what: "picks" })?;
        let (x, sum) = (far.normed(y.n_rows), far.h(y.n_rows));
        issue(device, CopyRows { from: y, to: x, add: false })?;
        // Recorded before anything waits: a device that computes later begins when the first op goes elsewhere.
        self.dense(device, s, &w.shared, y, h)?;
        issue(device, CopyRows { from: far.zeros(y.n_rows), to: sum, add: false })?;
        issue(device, Route { x, router: &w.router, always: None, picks })?;
        issue(device, ExpertFfn { x, experts: w.experts(), picks, out: sum })?;
        issue(device, CopyRows { from: sum, to: h, add: true })
    }
}
