//! The cache of a layer that sees everything: blocks are added as positions come, and none is ever copied.

use super::Blocks;
use puna_core::Place;

/// Slot `p` holds position `p`.
#[derive(Clone, Debug)]
pub(super) struct FullCache {
    pub(super) blocks: Blocks,
}

impl FullCache {
    pub(super) const fn new(block_tokens: usize, place: Place) -> Self {
        FullCache { blocks: Blocks::new(block_tokens, place) }
    }
}
