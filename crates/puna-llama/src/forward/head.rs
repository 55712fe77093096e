//! The last norm and the head, for the rows that are wanted, a few at a time.

use super::{Batch, Llama, Pass, State, issue};
use crate::Result;
use crate::scratch::LOGIT_ROWS;
use puna_core::ops::MatMul;
use puna_core::{Device, Place, Rows};

impl Llama {
    /// Logits of the last `batch.wanted` rows of `h`, which is `here`, handed to `pass.logits` in order. Without a sink nothing
    /// is read; those of the last row stay on the device.
    pub(super) fn head(
        &self,
        device: &mut dyn Device,
        state: &mut State,
        (here, h): (Place, Rows),
        batch: Batch,
        pass: &mut Pass<'_>,
    ) -> Result<()> {
        let mut row = batch.n - batch.wanted;
        while row < batch.n {
            let n = (batch.n - row).min(LOGIT_ROWS);
            state.reserve_logits(n, device)?;
            let h = self.bring(device, state, h.slice(row, n), (here, self.placement.head))?;
            let s = state.scratch(self.placement.head)?;
            let (normed, logits) = (s.normed(n), s.logits(n));
            self.rms_norm(device, h, self.weights.norm, normed)?;
            issue(device, MatMul { x: normed, w: &self.weights.head, bias: None, out: logits, add: false })?;
            state.leave_logits(logits);
            if let Some(sink) = &mut pass.logits {
                let values = state.read_logits(device, logits)?;
                let positions = batch.pos + row as u64..;
                for (pos, values) in positions.zip(values.chunks_exact(self.config.vocab_size)) {
                    sink(pos, values)?;
                }
            }
            row += n;
        }
        Ok(())
    }
}
