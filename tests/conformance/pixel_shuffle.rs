//! [`PixelShuffle`](puna_core::ops::PixelShuffle): values only move.

use super::{Conformance, rows, take};
use puna_core::Device;
use puna_core::ops::PixelShuffle;
use puna_tests::seeded::Seeded;

#[test]
fn squares_of_every_size() {
    let mut c = Conformance::new();
    let mut rng = Seeded(46);
    for (tiles, grid, factor, width) in
        [(1, 1, 1, 1), (2, 4, 2, 5), (1, 6, 3, 7), (3, 4, 4, 2), (1, 24, 2, 88)]
    {
        let side = grid / factor;
        let x = rng.values(tiles * (grid * grid + 1) * width, 1.0);
        let len = tiles * side * side * width * factor * factor;
        let run = |d: &mut dyn Device| {
            let x = rows(d, &x, width, 1);
            let out = rows(d, &vec![f32::NAN; len], width * factor * factor, 4);
            d.issue(&PixelShuffle { x, grid, factor, out }.into()).unwrap();
            take(d, out, &[x])
        };
        c.check(&format!("PixelShuffle {tiles} tiles of {grid} by {factor}"), run, |_| vec![0.0; len]);
    }
}
