//! [`PixelShuffle`](crate::ops::PixelShuffle), scalar.

/// Tiles of `grid * grid + 1` rows of `width` values into tiles of `(grid / factor)²` rows of `width * factor²`.
pub fn pixel_shuffle(x: &[f32], width: usize, grid: usize, factor: usize, out: &mut [f32]) {
    let side = grid / factor;
    let square = factor * factor;
    for (i, out) in out.chunks_exact_mut(width.max(1)).enumerate() {
        let (token, part) = (i / square, i % square);
        let (tile, y2, x2) = (token / (side * side), token % (side * side) / side, token % side);
        let (y, column) = (factor * y2 + part / factor, factor * x2 + part % factor);
        let row = tile * (grid * grid + 1) + y * grid + column;
        out.copy_from_slice(&x[row * width..(row + 1) * width]);
    }
}
