//! The one table that says what every layer is.

use crate::error::with_capacity;
use crate::weights::{Names, TensorSource};
use crate::{Config, LlamaError, Result};
use alloc::vec::Vec;
use core::ops::Deref;
use puna_core::ops::Window;

/// What one layer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerKind {
    /// Whether queries and keys are rotated (and normalised, if the model does); the others are NoPE layers.
    pub rope: bool,
    /// Which earlier positions are visible.
    pub window: Window,
    /// Whether the feed-forward network is a mixture of experts.
    pub moe: bool,
    /// Whether queries get the temperature of their position.
    pub temperature: bool,
}

/// One [`LayerKind`] a layer; dereferences to the slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerTable(Vec<LayerKind>);

impl LayerTable {
    /// The table of a configuration alone, as a plan before there are tensors.
    ///
    /// # Errors
    /// Out of memory.
    pub fn from_config(config: &Config) -> Result<LayerTable> {
        Self::build(config, |_, moe| Ok(moe))
    }

    /// The table of a model: a layer has experts if the file has a router for it, whatever the configuration's pattern
    /// says, since irregular patterns exist.
    ///
    /// # Errors
    /// A router in a model without experts; a layer count beyond the tensors that are there.
    pub fn new(config: &Config, names: &Names, tensors: &dyn TensorSource) -> Result<LayerTable> {
        // The last layer first: a wild count fails before anything is sized by it.
        let last = names.attn_norm(config.n_layers.saturating_sub(1));
        if !tensors.contains(&last) {
            return Err(LlamaError::missing(last));
        }
        Self::build(config, |layer, _| {
            let router = names.router(layer);
            match tensors.contains(&router) {
                true if config.n_experts == 0 => {
                    Err(LlamaError::tensor(router, "no router, since the model has 0 experts", "one"))
                }
                moe => Ok(moe),
            }
        })
    }

    fn build(config: &Config, moe: impl Fn(usize, bool) -> Result<bool>) -> Result<LayerTable> {
        let mut table = with_capacity(config.n_layers)?;
        let patterns = config.rope_layers.iter().zip(&config.chunked_layers).zip(&config.moe_layers);
        for (layer, ((&rope, &chunked), &has_experts)) in patterns.enumerate() {
            let window = match config.attention_chunk_size {
                Some(size) if chunked => Window::Chunk(size as u64),
                _ => Window::Full,
            };
            let temperature = !rope && config.temperature.is_some();
            table.push(LayerKind { rope, window, moe: moe(layer, has_experts)?, temperature });
        }
        Ok(LayerTable(table))
    }

    /// The chunk size, if any layer has chunks.
    pub fn chunk(&self) -> Option<u64> {
        self.iter().find_map(|layer| match layer.window {
            Window::Chunk(size) => Some(size),
            Window::Full => None,
        })
    }
}

impl Deref for LayerTable {
    type Target = [LayerKind];

    fn deref(&self) -> &[LayerKind] {
        &self.0
    }
}
