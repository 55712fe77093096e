//! Fewer and wider vision tokens.

use super::rope_2d::check_tiles;
use super::{distinct, expect};
use crate::{DeviceError, Rows};

/// Joins each square of `factor * factor` neighbouring patches into one row, and drops the class token.
///
/// For a tile with patches `P[y][x]`, output row `y2 * (grid / factor) + x2` is the concatenation of
/// `P[factor * y2 + dy][factor * x2 + dx]` over `dy`, then `dx`.
///
/// Source: `pixel_shuffle` in Hugging Face transformers, `PixelShuffle` in Meta's code; both were measured.
#[derive(Clone, Debug)]
pub struct PixelShuffle {
    /// `[tiles * (grid * grid + 1), width]`: the patches of each tile row by row, then its class token.
    pub x: Rows,
    /// Patches along each side of a tile; a multiple of `factor`.
    pub grid: usize,
    /// Patches along each side of a square.
    pub factor: usize,
    /// `[tiles * (grid / factor)², width * factor²]`.
    pub out: Rows,
}

impl PixelShuffle {
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        const OP: &str = "PixelShuffle";
        distinct(OP, self.x, self.out)?;
        let side = self.grid.checked_div(self.factor).unwrap_or(0);
        expect(OP, "grid in whole squares", self.grid, side * self.factor)?;
        let tiles = check_tiles(OP, self.x, self.grid)?;
        expect(OP, "output rows", self.out.n_rows, tiles * side * side)?;
        let width = self.x.width.saturating_mul(self.factor).saturating_mul(self.factor);
        expect(OP, "output width", self.out.width, width)
    }
}
