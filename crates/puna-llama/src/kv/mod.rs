//! Cached keys and values, sized as contexts of ten million tokens need: chunked layers hold one chunk, full layers grow.

mod chunk;
mod full;

use crate::error::with_capacity;
use crate::{Config, LayerTable, LlamaError, Placement, Result};
use alloc::vec::Vec;
use chunk::ChunkCache;
use full::FullCache;
use puna_core::ops::Window;
use puna_core::{Buf, Device, Elem, KvView, Place};

/// Positions of a block, where neither the context nor the chunk is smaller.
pub const BLOCK_TOKENS: usize = 256;

/// What all blocks of a cache have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BlockShape {
    n_kv_heads: usize,
    head_dim: usize,
    elem: Elem,
}

impl BlockShape {
    /// Elements of a block of so many positions.
    const fn len(&self, tokens: usize) -> usize {
        2 * self.n_kv_heads * tokens * self.head_dim
    }
}

/// The caches of all layers, in step.
#[derive(Clone, Debug)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    shape: BlockShape,
    len: u64,
}

#[derive(Clone, Debug)]
enum LayerCache {
    Full(FullCache),
    Chunk(ChunkCache),
}

impl LayerCache {
    fn blocks(&self) -> &Blocks {
        match self {
            LayerCache::Full(cache) => &cache.blocks,
            LayerCache::Chunk(cache) => &cache.blocks,
        }
    }

    fn blocks_mut(&mut self) -> &mut Blocks {
        match self {
            LayerCache::Full(cache) => &mut cache.blocks,
            LayerCache::Chunk(cache) => &mut cache.blocks,
        }
    }

    /// Absolute position of the first slot.
    fn first(&self) -> u64 {
        match self {
            LayerCache::Full(_) => 0,
            LayerCache::Chunk(cache) => cache.first,
        }
    }

    /// The first position that a query at `pos` needs.
    fn start(&self, pos: u64) -> u64 {
        match self {
            LayerCache::Full(_) => 0,
            LayerCache::Chunk(cache) => cache.start(pos),
        }
    }

    /// Positions from `pos` on come next.
    fn enter(&mut self, pos: u64) {
        if let LayerCache::Chunk(cache) = self {
            cache.first = cache.start(pos);
        }
    }
}

/// Blocks of one layer, in order of position.
#[derive(Clone, Debug)]
struct Blocks {
    bufs: Vec<Buf>,
    tokens: usize,
    place: Place,
    /// Blocks that hold counted positions; those after them were added for a batch that is not done yet.
    kept: usize,
}

impl Blocks {
    const fn new(tokens: usize, place: Place) -> Self {
        Blocks { bufs: Vec::new(), tokens, place, kept: 0 }
    }

    /// Adds blocks until there are `slots` slots. Those added before a refusal stay until [`undo`](Self::undo).
    fn grow(&mut self, device: &mut dyn Device, shape: &BlockShape, slots: u64) -> Result<()> {
        while ((self.bufs.len() * self.tokens) as u64) < slots {
            self.bufs.try_reserve(1).map_err(|_| LlamaError::out_of_memory::<Buf>(1))?;
            self.bufs.push(device.alloc_at(self.place, shape.elem, shape.len(self.tokens))?);
        }
        Ok(())
    }

    /// All blocks hold counted positions now.
    fn keep(&mut self) {
        self.kept = self.bufs.len();
    }

    /// Gives back the blocks added since the last [`keep`](Self::keep).
    fn undo(&mut self, device: &mut dyn Device) {
        for buf in self.bufs.drain(self.kept..) {
            device.free(buf);
        }
    }

    fn clear(&mut self, device: &mut dyn Device) {
        self.kept = 0;
        self.undo(device);
    }
}

impl KvCache {
    /// Empty caches for the layers of `table`, for at most `context` positions, each at the place of its layer. Nothing is
    /// allocated on a device yet.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(
        config: &Config,
        table: &LayerTable,
        placement: &Placement,
        context: usize,
        elem: Elem,
    ) -> Result<KvCache> {
        let shape = BlockShape { n_kv_heads: config.n_kv_heads, head_dim: config.head_dim, elem };
        let most = BLOCK_TOKENS.min(context).max(1);
        let mut layers = with_capacity(table.len())?;
        layers.extend(table.iter().enumerate().map(|(i, layer)| {
            let place = placement.layer(i).layer;
            match layer.window {
                Window::Full => LayerCache::Full(FullCache::new(most, place)),
                Window::Chunk(size) => LayerCache::Chunk(ChunkCache::new(size, most, place)),
            }
        }));
        Ok(KvCache { layers, shape, len: 0 })
    }

    /// Positions that are cached on every layer.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of all blocks allocated so far.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| self.block_bytes(layer.blocks())).sum()
    }

    /// Bytes of those at one place.
    pub(crate) fn bytes_at(&self, place: Place) -> u64 {
        let here = self.layers.iter().map(LayerCache::blocks).filter(|blocks| blocks.place == place);
        here.map(|blocks| self.block_bytes(blocks)).sum()
    }

    fn block_bytes(&self, b: &Blocks) -> u64 {
        (b.bufs.len() * self.shape.len(b.tokens) * self.shape.elem.bytes()) as u64
    }

    /// Makes room for `n` more positions, which must not cross a chunk boundary. Chunked layers that stand at the end
    /// of their chunk begin the next one in the same slots.
    ///
    /// # Errors
    /// Out of memory; then every layer has the blocks it had before.
    pub fn reserve(&mut self, device: &mut dyn Device, n: usize) -> Result<()> {
        let (pos, end) = (self.len, self.len.saturating_add(n as u64));
        for i in 0..self.layers.len() {
            let Some(layer) = self.layers.get_mut(i) else { break };
            let slots = end - layer.start(pos);
            if let Err(e) = layer.blocks_mut().grow(device, &self.shape, slots) {
                self.layers.iter_mut().for_each(|layer| layer.blocks_mut().undo(device));
                return Err(e);
            }
        }
        self.layers.iter_mut().for_each(|layer| layer.enter(pos));
        Ok(())
    }

    /// Counts `n` positions, for which [`reserve`](Self::reserve) made room and every layer now has keys and values.
    pub fn advance(&mut self, n: usize) {
        self.len += n as u64;
        self.layers.iter_mut().for_each(|layer| layer.blocks_mut().keep());
    }

    /// The cache of a layer, for ops.
    pub fn view(&self, layer: usize) -> Option<KvView<'_>> {
        let cache = self.layers.get(layer)?;
        let blocks = cache.blocks();
        Some(KvView {
            blocks: &blocks.bufs,
            block_tokens: blocks.tokens,
            first: cache.first(),
            n_kv_heads: self.shape.n_kv_heads,
            head_dim: self.shape.head_dim,
            elem: self.shape.elem,
        })
    }

    /// Forgets all positions from `n` on, and returns how many remain cached.
    ///
    /// Fewer than `n` remain when a chunked layer has already given up the chunk that `n` lies in: then everything from
    /// the beginning of that chunk must be fed again. What full layers hold before it is kept.
    pub fn truncate(&mut self, n: u64) -> u64 {
        if n >= self.len {
            return self.len;
        }
        let lost = self.layers.iter().filter_map(|layer| match layer {
            LayerCache::Chunk(cache) => cache.lost(n),
            LayerCache::Full(_) => None,
        });
        self.len = lost.min().unwrap_or(n);
        self.len
    }

    /// Gives all blocks back to the device.
    pub fn clear(&mut self, device: &mut dyn Device) {
        self.layers.iter_mut().for_each(|layer| layer.blocks_mut().clear(device));
        self.len = 0;
    }

    /// Pretends that `n` positions are cached: for plans, on devices that compute nothing.
    pub(crate) fn seek(&mut self, n: u64) {
        self.len = n;
    }
}
