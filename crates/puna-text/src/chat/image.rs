//! The tokens that stand for an image in a Llama 4 prompt.

use crate::special::{IMAGE, IMAGE_END, IMAGE_START, PATCH, TILE_X_SEPARATOR, TILE_Y_SEPARATOR};

/// How an image was cut into tiles.
///
/// One tile is the image itself; more tiles are followed by one that shows the whole image again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageLayout {
    /// Tiles from top to bottom, at least 1.
    pub rows: u32,
    /// Tiles from left to right, at least 1.
    pub cols: u32,
    /// Vision features of one tile: 144 for a 336-pixel tile of 14-pixel patches shuffled 2 by 2.
    pub patches: u32,
}

impl ImageLayout {
    /// A layout with the released models' 144 features for each tile.
    pub const fn new(rows: u32, cols: u32) -> Self {
        Self { rows, cols, patches: 144 }
    }

    /// Tiles the vision tower must encode, the whole-image tile included.
    pub const fn tiles(self) -> u64 {
        let tiles = self.rows as u64 * self.cols as u64;
        if tiles > 1 { tiles.saturating_add(1) } else { 1 }
    }

    /// Tokens the image takes in a prompt; saturates.
    pub const fn n_tokens(self) -> u64 {
        let (rows, cols) = (self.rows as u64, self.cols as u64);
        let separators = if self.tiles() > 1 { rows.saturating_mul(cols) } else { 0 };
        self.tiles().saturating_mul(self.patches as u64).saturating_add(separators).saturating_add(3)
    }

    /// The names of the tokens in prompt order; the n-th [`PATCH`] takes the n-th vision feature.
    pub fn tokens(self) -> ImageTokens {
        ImageTokens { layout: self, state: State::Start }
    }
}

/// The tokens of an image, one name after another; made by [`ImageLayout::tokens`].
#[derive(Debug, Clone)]
pub struct ImageTokens {
    layout: ImageLayout,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Start,
    /// Next is feature `patch` of the tile at `row`, `col`, or what follows the tile.
    Tile {
        row: u32,
        col: u32,
        patch: u32,
    },
    Whole,
    /// Next is feature `patch` of the whole-image tile, or the end.
    WholePatch {
        patch: u32,
    },
    Done,
}

impl Iterator for ImageTokens {
    type Item = &'static str;

    fn next(&mut self) -> Option<&'static str> {
        let ImageLayout { rows, cols, patches } = self.layout;
        let (name, next) = match self.state {
            State::Start if self.layout.tiles() > 1 => {
                (IMAGE_START, State::Tile { row: 0, col: 0, patch: 0 })
            }
            State::Start => (IMAGE_START, State::Whole),
            State::Tile { row, col, patch } if patch < patches => {
                (PATCH, State::Tile { row, col, patch: patch + 1 })
            }
            State::Tile { row, col, .. } if col + 1 < cols => {
                (TILE_X_SEPARATOR, State::Tile { row, col: col + 1, patch: 0 })
            }
            State::Tile { row, .. } => {
                let next = if row + 1 < rows {
                    State::Tile { row: row + 1, col: 0, patch: 0 }
                } else {
                    State::Whole
                };
                (TILE_Y_SEPARATOR, next)
            }
            State::Whole => (IMAGE, State::WholePatch { patch: 0 }),
            State::WholePatch { patch } if patch < patches => (PATCH, State::WholePatch { patch: patch + 1 }),
            State::WholePatch { .. } => (IMAGE_END, State::Done),
            State::Done => return None,
        };
        self.state = next;
        Some(name)
    }
}
