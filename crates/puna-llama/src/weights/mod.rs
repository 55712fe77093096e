//! Weights: where tensors come from, what they are called, and their binding to matrices on a device.

mod bind;
mod experts;
mod loader;
mod names;
mod source;

pub use bind::{Bias, Dense, Ffn, LayerWeights, Linear, Moe, Weights};
pub(crate) use loader::{Loader, values};
pub use names::Names;
pub use source::{GgufTensors, MemTensors, ShardTensors, Tensor, TensorSource};

use puna_core::Cancel;

/// How far a load has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadProgress {
    /// Tensors bound so far.
    pub tensors: usize,
    /// Their bytes, and those of the next one that are on the device already.
    pub bytes: u64,
    /// Bytes of all tensors of the source, those that the text model does not use included.
    pub total_bytes: u64,
}

/// What a load tells and listens to.
#[derive(Default)]
pub struct LoadWatch<'a> {
    /// Looked at before each tensor, and between the parts in which a device copies a large one.
    pub cancel: Option<&'a Cancel>,
    /// Called after each tensor and each such part.
    pub progress: Option<&'a mut dyn FnMut(LoadProgress)>,
}
