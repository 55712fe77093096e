//! A shared flag with which one thread asks another to stop.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

/// A request to stop that can be made from anywhere and is noticed between two steps of the work.
///
/// Clones share one flag. Long work checks it at least once per layer of a forward pass and per tensor of a load.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the work to stop. Never blocks.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes the request back, so that the flag can serve the next piece of work.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
