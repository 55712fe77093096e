//! The last norm and the head, for the rows that are wanted, a few at a time.

use super::{Batch, Llama, Pass, State, issue};
use crate::Result;
use crate::scratch::LOGIT_ROWS;
use puna_core::Device;
use puna_core::ops::MatMul;

impl Llama {
    /// Logits of the last `batch.wanted` rows, handed to `pass.logits` in order; the last piece stays in `state`.
    pub(super) fn head(
        &self,
        device: &mut dyn Device,
        state: &mut State,
        batch: Batch,
        pass: &mut Pass<'_>,
    ) -> Result<()> {
        let mut row = batch.n - batch.wanted;
        while row < batch.n {
            let n = (batch.n - row).min(LOGIT_ROWS);
            state.reserve_logits(n, device)?;
            let s = &state.scratch;
            let (normed, logits) = (s.normed(n), s.logits(n));
            self.rms_norm(device, s.h(batch.n).slice(row, n), self.weights.norm, normed)?;
            issue(device, MatMul { x: normed, w: &self.weights.head, bias: None, out: logits, add: false })?;
            let values = state.read_logits(device, logits)?;
            if let Some(sink) = &mut pass.logits {
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
