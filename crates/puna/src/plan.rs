//! What a model and a session will hold in memory and read for each token.

#[cfg(feature = "std")]
use crate::error::{Error, Lift};
#[cfg(feature = "std")]
use crate::package::Package;
#[cfg(feature = "std")]
use crate::session::state_options;

/// A memory plan; see [`Model::plan`](crate::Model::plan). All sizes are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryPlan {
    /// Tokens of the context that was planned for.
    pub context: usize,
    /// Weights. Mapped files share them with other programs and give them back under pressure.
    pub weights: u64,
    /// Keys and values of a full context; taken as it fills.
    pub kv: u64,
    /// Activations of the largest batch.
    pub activations: u64,
    /// Weights read for each decoded token: divided by the machine's memory bandwidth, the shortest time it can take.
    pub weights_per_token: u64,
    /// Keys and values read for the last token of a full context.
    pub kv_per_token: u64,
    /// Multiplications of that token.
    pub multiply_adds_per_token: u64,
}

impl MemoryPlan {
    /// Everything together.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv).saturating_add(self.activations)
    }

    #[cfg(feature = "std")]
    pub(crate) fn new(package: &Package, options: &crate::SessionOptions) -> Result<Self, Error> {
        let state = state_options(&package.config, options);
        let config = package.config.clone();
        let plan = package.tensors.with(|source| puna_llama::plan(config, source, &state)).lift()?;
        Ok(MemoryPlan {
            context: state.context.unwrap_or(package.config.context_length),
            weights: plan.weight_bytes,
            kv: plan.kv_bytes,
            activations: plan.scratch_bytes,
            weights_per_token: plan.weight_bytes_per_token,
            kv_per_token: plan.kv_bytes_per_token,
            multiply_adds_per_token: plan.multiply_adds_per_token,
        })
    }
}
