//! The memory plan: what a model and a session will hold and read, before anything is computed.

use crate::forward::{Llama, Pass, State, StateOptions, Want};
use crate::weights::{LoadWatch, TensorSource};
use crate::{Config, Placement, Result};
use alloc::vec::Vec;
use puna_core::{Device, Place, PlanDevice};

/// Bytes that a model and one session need, in all or at one place.
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
    /// Bytes of rows that come from another place for each decoded token.
    pub moved_bytes_per_token: u64,
}

impl Plan {
    /// Both together.
    pub fn plus(self, other: Plan) -> Plan {
        Plan {
            weight_bytes: self.weight_bytes.saturating_add(other.weight_bytes),
            kv_bytes: self.kv_bytes.saturating_add(other.kv_bytes),
            scratch_bytes: self.scratch_bytes.saturating_add(other.scratch_bytes),
            weight_bytes_per_token: self.weight_bytes_per_token.saturating_add(other.weight_bytes_per_token),
            kv_bytes_per_token: self.kv_bytes_per_token.saturating_add(other.kv_bytes_per_token),
            multiply_adds_per_token: self
                .multiply_adds_per_token
                .saturating_add(other.multiply_adds_per_token),
            moved_bytes_per_token: self.moved_bytes_per_token.saturating_add(other.moved_bytes_per_token),
        }
    }
}

/// Plans a model from its configuration and tensors, and one session of it. Nothing is computed and no weight is read
/// but norms, biases and scales.
///
/// # Errors
/// All that [`Llama::load`] and [`State::new`] would refuse.
pub fn plan(config: Config, tensors: &dyn TensorSource, options: &StateOptions) -> Result<Plan> {
    let places = plan_placed(config, tensors, &Placement::default(), options)?;
    Ok(places.into_iter().fold(Plan::default(), |sum, (_, plan)| sum.plus(plan)))
}

/// As [`plan`], for every place that `placement` uses, in order.
///
/// # Errors
/// As [`plan`].
pub fn plan_placed(
    config: Config,
    tensors: &dyn TensorSource,
    placement: &Placement,
    options: &StateOptions,
) -> Result<Vec<(Place, Plan)>> {
    let mut device = PlanDevice::new();
    let llama = Llama::load_placed(config, tensors, &mut device, placement, &mut LoadWatch::default())?;
    llama.plan(&mut device, options)
}

impl Llama {
    pub(crate) fn plan(&self, device: &mut PlanDevice, options: &StateOptions) -> Result<Vec<(Place, Plan)>> {
        let mut state = State::new(self, device, options)?;
        let places = self.placement.places(self.layers.len());
        let scratch: Vec<u64> = places.iter().map(|&place| device.tally_at(place).buffer_bytes).collect();
        // The last token of a full context; before it, a full chunk on the layers that have chunks.
        if let Some(chunk) = self.layers.chunk() {
            let longest = chunk.min(state.context() as u64);
            state.kv.reserve(device, longest as usize)?;
        }
        state.kv.seek(state.context() as u64 - 1);
        device.reset_work();
        self.forward(device as &mut dyn Device, &mut state, &[0], &mut Pass::new(Want::Last(1)))?;
        let plan = |(place, scratch_bytes): (Place, u64)| {
            let tally = device.tally_at(place);
            let plan = Plan {
                weight_bytes: tally.weight_bytes,
                kv_bytes: state.kv.bytes_at(place),
                scratch_bytes,
                weight_bytes_per_token: tally.weight_bytes_read,
                kv_bytes_per_token: tally.kv_bytes_read,
                multiply_adds_per_token: tally.multiply_adds,
                moved_bytes_per_token: tally.moved_bytes,
            };
            (place, plan)
        };
        Ok(places.into_iter().zip(scratch).map(plan).collect())
    }
}
