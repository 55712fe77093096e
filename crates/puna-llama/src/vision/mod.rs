//! The vision tower: pictures in, rows for the residual stream out.
//!
//! 1. An [`Image`] is cut into [`Tiles`] of the size the tower was trained with, and one tile that shows it whole.
//! 2. [`Vision::encode`] turns them into [`Features`]: so many rows a tile, as wide as the text model's residual stream.
//! 3. [`expand`] writes an image's tokens into a prompt, and [`place`] says at which positions its rows go.
//! 4. A [`Pass`](crate::Pass) with these [`Embed`]s overwrites the embedding rows there; a generated `<|patch|>` has none.

mod config;
mod encoder;
mod prompt;
mod resize;
mod rope;
mod tiles;
mod weights;

pub use config::{MAX_GRID, MAX_TILES, VisionConfig};
pub use encoder::{Encode, Observe, Stage};
pub use prompt::{Embed, ImageIds, Span, expand, place, spans};
pub use puna_text::chat::{Image, ImageLayout, MAX_SIDE};
pub use resize::resize;
pub use tiles::{Canvas, Tiles};
pub(crate) use weights::tables;
pub use weights::{Norm, Vision, VisionLayer, is_in};

use crate::error::with_capacity;
use crate::{LlamaError, Result};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What the tower makes of an image: rows in prompt order, shared by everybody who uses them.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    values: Arc<Vec<f32>>,
    width: usize,
}

impl Features {
    /// Rows of `width` values each, one after the other.
    ///
    /// # Errors
    /// [`LlamaError::Image`] for a width of 0 or values that are no whole number of rows.
    pub fn new(values: Vec<f32>, width: usize) -> Result<Features> {
        match width != 0 && values.len().is_multiple_of(width) {
            true => Ok(Features { values: Arc::new(values), width }),
            false => Err(LlamaError::image(
                "image features",
                alloc::format!("rows of {width} values"),
                values.len(),
            )),
        }
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.values.len() / self.width
    }

    /// Values of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All values, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// `n` rows from `first` on; empty if they are not all there.
    pub fn rows(&self, first: usize, n: usize) -> &[f32] {
        let end = first.saturating_add(n).saturating_mul(self.width);
        self.values.get(first.saturating_mul(self.width)..end).unwrap_or(&[])
    }
}

/// `n` zeros, or a typed refusal.
fn zeros(n: usize) -> Result<Vec<f32>> {
    let mut values = with_capacity(n)?;
    values.resize(n, 0.0);
    Ok(values)
}
