//! The cache of a chunked layer: at most one chunk, whose slots serve the next chunk when its boundary is crossed.

use super::Blocks;
use puna_core::Place;
use puna_core::ops::Window;

/// Slot `s` holds position `first + s`, and `first` is a multiple of the chunk size.
#[derive(Clone, Debug)]
pub(super) struct ChunkCache {
    pub(super) blocks: Blocks,
    pub(super) first: u64,
    size: u64,
}

impl ChunkCache {
    pub(super) fn new(size: u64, most_block_tokens: usize, place: Place) -> Self {
        let tokens = usize::try_from(size).map_or(most_block_tokens, |size| size.min(most_block_tokens));
        ChunkCache { blocks: Blocks::new(tokens, place), first: 0, size }
    }

    /// The beginning of the chunk of `pos`.
    pub(super) fn start(&self, pos: u64) -> u64 {
        Window::Chunk(self.size).start(pos)
    }

    /// Where to begin again so that position `n` can follow, if the chunk of `n` is no longer held.
    ///
    /// At a boundary nothing needs to be held: the next position sees only itself.
    pub(super) fn lost(&self, n: u64) -> Option<u64> {
        let start = self.start(n);
        (start < n && start != self.first).then_some(start)
    }
}
