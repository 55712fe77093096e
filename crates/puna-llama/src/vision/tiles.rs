//! How an image is fitted onto a canvas of tiles.

use super::{Image, VisionConfig, resize, zeros};
use crate::error::with_capacity;
use crate::{LlamaError, Result};
use alloc::format;
use alloc::vec::Vec;

/// A grid of tiles and the size that an image gets on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canvas {
    /// Tiles from top to bottom.
    pub rows: usize,
    /// Tiles from left to right.
    pub cols: usize,
    /// Width of the image on the canvas, in pixels.
    pub width: usize,
    /// Its height; what is left of the canvas to the right and below is black.
    pub height: usize,
}

impl Canvas {
    /// The canvas for an image of `width` by `height`: among all grids of up to `max_tiles` tiles of `size` pixels
    /// square, the one that enlarges it least, or failing that shrinks it least; and of those the smallest.
    ///
    /// An image is never enlarged beyond the size of one tile. Scales are compared in F32, as the references do.
    pub fn choose(width: usize, height: usize, size: usize, max_tiles: usize) -> Canvas {
        let scale = |(rows, cols): (usize, usize)| {
            let x = (cols * size) as f32 / width as f32;
            let y = (rows * size) as f32 / height as f32;
            if y > x { x } else { y }
        };
        let scales = || grids(max_tiles).map(scale);
        let up = scales().filter(|&s| s >= 1.0).fold(f32::INFINITY, f32::min);
        let down = scales().filter(|&s| s < 1.0).fold(0.0, f32::max);
        let chosen = if up.is_finite() { up } else { down };
        let best =
            grids(max_tiles).filter(|&grid| scale(grid) == chosen).min_by_key(|(rows, cols)| rows * cols);
        let (rows, cols) = best.unwrap_or((1, 1));

        let limit_x = width.max(size).min(cols * size);
        let limit_y = height.max(size).min(rows * size);
        let (x, y) = (limit_x as f64 / width as f64, limit_y as f64 / height as f64);
        let (w, h) = match x < y {
            true => (limit_x, (libm::floor(height as f64 * x) as usize).min(limit_y)),
            false => ((libm::floor(width as f64 * y) as usize).min(limit_x), limit_y),
        };
        Canvas { rows, cols, width: w.max(1), height: h.max(1) }
    }

    /// Tiles to encode, the one that shows the whole image included.
    pub const fn n_tiles(&self) -> usize {
        let n = self.rows * self.cols;
        if n > 1 { n + 1 } else { n }
    }
}

/// All grids of up to `max` tiles as (rows, columns), in the references' order: by ratio, in the order in which ratios
/// appear when tile counts are walked downward. The order decides between grids of the same scale and area.
fn grids(max: usize) -> impl Iterator<Item = (usize, usize)> {
    let all = move || {
        (1..=max).rev().flat_map(|n| (1..=n).filter(move |r| n.is_multiple_of(*r)).map(move |r| (r, n / r)))
    };
    let same = |a: (usize, usize), b: (usize, usize)| a.0 * b.1 == a.1 * b.0;
    // The first grid of a ratio is its largest, so smaller ones of the ratio are exactly those that come after it.
    let first = all().filter(move |&grid| all().find(|&other| same(grid, other)) == Some(grid));
    first.flat_map(move |grid| all().filter(move |&other| same(grid, other)))
}

/// An image as the tower takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiles {
    /// Tiles from top to bottom, without the one that shows the whole image.
    pub rows: usize,
    /// Tiles from left to right.
    pub cols: usize,
    /// Pixels along a side of a tile.
    pub size: usize,
    /// Normalised `[n, 3, size, size]`: tiles row by row, then, if there is more than one, the whole image.
    pub pixels: Vec<f32>,
}

impl Tiles {
    /// Fits `image` onto its canvas and cuts it up.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(image: &Image, config: &VisionConfig) -> Result<Tiles> {
        let size = config.image_size;
        let canvas = Canvas::choose(image.width(), image.height(), size, config.max_tiles);
        let plane = size * size;
        let mut pixels = zeros(canvas.n_tiles().saturating_mul(3 * plane))?;
        // Bytes to normalised values, in the F32 steps of the reference.
        let table = |c: usize| {
            let (mean, std) = (config.mean[c], config.std[c]);
            core::array::from_fn::<f32, 256, _>(|v| (v as f32 / 255.0 - mean) / std)
        };
        let tables = [table(0), table(1), table(2)];
        let mut put = |bytes: &[u8], width: usize, height: usize, first: usize| {
            let tiles = pixels.chunks_exact_mut(3 * plane).skip(first);
            for (tile, out) in tiles.enumerate() {
                let (top, left) = (tile / canvas.cols * size, tile % canvas.cols * size);
                let channels = out.chunks_exact_mut(plane).zip(&tables).enumerate();
                for (c, (out, table)) in channels {
                    for (y, out) in (top..).zip(out.chunks_exact_mut(size)) {
                        for (x, out) in (left..).zip(out) {
                            let inside = x < width && y < height;
                            let v = if inside { bytes.get((y * width + x) * 3 + c) } else { None };
                            *out = table[usize::from(v.copied().unwrap_or(0))];
                        }
                    }
                }
            }
        };
        put(&resize(image, canvas.width, canvas.height)?, canvas.width, canvas.height, 0);
        if canvas.n_tiles() > 1 {
            // The references distort the whole image to a square. It is the last tile, written over what was there.
            put(&resize(image, size, size)?, size, size, canvas.n_tiles() - 1);
        }
        Ok(Tiles { rows: canvas.rows, cols: canvas.cols, size, pixels })
    }

    /// Tiles that were made elsewhere: `[n, 3, size, size]`, already normalised. They count as a grid of one column
    /// and, where there is more than one, a whole image at the end.
    ///
    /// # Errors
    /// [`LlamaError::Image`] when the values are no whole number of tiles, not finite, or too many.
    pub fn from_pixels(pixels: &[f32], config: &VisionConfig) -> Result<Tiles> {
        let tile = 3 * config.image_size * config.image_size;
        let n = pixels.len() / tile;
        if n == 0 || !pixels.len().is_multiple_of(tile) {
            let expected = format!("a whole number of tiles of {tile} values");
            return Err(LlamaError::image("pixels", expected, pixels.len()));
        }
        if let Some((at, found)) = pixels.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            return Err(LlamaError::image("pixels", "finite values", format!("{found} at index {at}")));
        }
        let mut values = with_capacity(pixels.len())?;
        values.extend_from_slice(pixels);
        Ok(Tiles { rows: if n > 1 { n - 1 } else { 1 }, cols: 1, size: config.image_size, pixels: values })
    }

    /// Number of tiles, the one that shows the whole image included.
    pub fn len(&self) -> usize {
        self.pixels.len() / (3 * self.size * self.size).max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Patches of tile `tile` as rows of channel, then row, then column; zeros for the class token follow them.
    pub(super) fn patches(&self, tile: usize, patch: usize, out: &mut Vec<f32>) {
        let (size, plane) = (self.size, self.size * self.size);
        let pixels = self.pixels.get(tile * 3 * plane..(tile + 1) * 3 * plane).unwrap_or(&[]);
        for n in 0..(size / patch) * (size / patch) {
            let (top, left) = (n / (size / patch) * patch, n % (size / patch) * patch);
            for channel in pixels.chunks_exact(plane) {
                let rows = channel.chunks_exact(size).skip(top).take(patch);
                rows.for_each(|row| out.extend_from_slice(&row[left..left + patch]));
            }
        }
        out.extend(core::iter::repeat_n(0.0, 3 * patch * patch));
    }
}

#[cfg(test)]
mod tests {
    use super::grids;
    use alloc::vec::Vec;

    #[test]
    fn the_grids_and_their_order() {
        let expected = "1,16 2,8 1,4 4,4 3,3 2,2 1,1 8,2 4,1 16,1 1,15 3,5 5,3 15,1 1,14 2,7 7,2 14,1 1,13 13,1 1,12 2,6 \
                        1,3 3,4 4,3 6,2 3,1 12,1 1,11 11,1 1,10 2,5 5,2 10,1 1,9 9,1 1,8 2,4 1,2 4,2 2,1 8,1 1,7 7,1 1,6 \
                        2,3 3,2 6,1 1,5 5,1";
        let found: Vec<_> = grids(16).map(|(r, c)| alloc::format!("{r},{c}")).collect();
        assert_eq!(found.join(" "), expected);
    }
}
