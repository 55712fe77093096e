//! The memory plan: what a model and a session will hold and read, before anything is computed.

use crate::forward::{Llama, Pass, State, StateOptions, Want};
use crate::weights::{LoadWatch, TensorSource};
use crate::{Config, Result};
use puna_core::{Device, PlanDevice};

/// Bytes that a model and one session need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// Weights, as they are in the file.
    pub weight_bytes: u64,
    /// Keys and values when the context is full.
    pub kv_bytes: u64,
    /// Activations of a batch.
    pub scratch_bytes: u64,
    /// Weight bytes read for each decoded token.
    pub weight_bytes_per_token: u64,
    /// Key and value bytes read for the last token of a full context.
    pub kv_bytes_per_token: u64,
    /// Multiply-adds of that token.
    pub multiply_adds_per_token: u64,
}

/// Plans a model from its configuration and tensors, and one session of it. Nothing is computed and no weight is read
/// but norms, biases and scales.
///
/// # Errors
/// All that [`Llama::load`] and [`State::new`] would refuse.
pub fn plan(config: Config, tensors: &dyn TensorSource, options: &StateOptions) -> Result<Plan> {
    let mut device = PlanDevice::new();
    let llama = Llama::load(config, tensors, &mut device, &mut LoadWatch::default())?;
    llama.plan(&mut device, options)
}

impl Llama {
    fn plan(&self, device: &mut PlanDevice, options: &StateOptions) -> Result<Plan> {
        let mut state = State::new(self, device, options)?;
        let scratch_bytes = device.tally().buffer_bytes;
        // The last token of a full context; before it, a full chunk on the layers that have chunks.
        if let Some(chunk) = self.layers.chunk() {
            let longest = chunk.min(state.context() as u64);
            state.kv.reserve(device, longest as usize)?;
        }
        state.kv.seek(state.context() as u64 - 1);
        device.reset_work();
        self.forward(device as &mut dyn Device, &mut state, &[0], &mut Pass::new(Want::Last(1)))?;
        let tally = device.tally();
        Ok(Plan {
            weight_bytes: tally.weight_bytes,
            kv_bytes: state.kv_bytes(),
            scratch_bytes,
            weight_bytes_per_token: tally.weight_bytes_read,
            kv_bytes_per_token: tally.kv_bytes_read,
            multiply_adds_per_token: tally.multiply_adds,
        })
    }
}
