//! How far long work has come.

/// A step of long work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Files are read into memory; counted in bytes. Mapped files have no such phase.
    Read,
    /// Weights are checked and handed to the device; counted in bytes.
    Weights,
    /// A GPU's kernels are compiled for the weights that are there; counted in kernels.
    Kernels,
    /// An image of a prompt goes through the vision tower; counted in tiles.
    Image,
    /// A prompt goes through the model; counted in tokens.
    Prefill,
    /// Tensors are converted and written; counted in bytes.
    Write,
}

/// How far a phase has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// How much of it is done.
    pub done: u64,
    /// How much there is.
    pub total: u64,
}

impl Progress {
    pub(crate) fn new(phase: Phase, done: u64, total: u64) -> Self {
        Self { phase, done, total }
    }
}
