//! The rotary embedding of the vision tower.

use super::expect;
use crate::{DeviceError, Rows, Vector};

/// Rotation by the place of a patch in its tile. In place.
///
/// Rows come in groups of `grid * grid + 1`: the patches of one tile row by row, then its class token. In each head of
/// `4 * inv_freq.len` values the consecutive pair `(2j, 2j + 1)` of the patch in column `x` and row `y` turns by
/// `(x + 1) * inv_freq[j]` in the first half of the pairs and by `(y + 1) * inv_freq[j - inv_freq.len]` in the second;
/// the class token does not turn. Angles are F32 products.
///
/// Source: `Llama4VisionRotaryEmbedding` in Hugging Face transformers.
#[derive(Clone, Debug)]
pub struct Rope2d {
    /// `[tiles * (grid * grid + 1), n_heads * 4 * inv_freq.len]`, changed in place.
    pub x: Rows,
    /// Patches along each side of a tile.
    pub grid: usize,
    /// Radians per patch of each pair of one axis.
    pub inv_freq: Vector,
}

impl Rope2d {
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        const OP: &str = "Rope2d";
        let head_dim = self.inv_freq.len.saturating_mul(4);
        let heads = self.x.width.checked_div(head_dim).unwrap_or(0);
        expect(OP, "width in whole heads", self.x.width, heads * head_dim)?;
        check_tiles(OP, self.x, self.grid).map(drop)
    }
}

/// The number of tiles in rows that are whole tiles of `grid * grid` patches and a class token.
pub(super) fn check_tiles(op: &'static str, x: Rows, grid: usize) -> Result<usize, DeviceError> {
    let group = grid.saturating_mul(grid).saturating_add(1);
    let tiles = x.n_rows / group;
    expect(op, "rows in whole tiles", x.n_rows, tiles * group)?;
    Ok(tiles)
}
