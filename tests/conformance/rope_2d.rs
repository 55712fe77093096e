//! [`Rope2d`](puna_core::ops::Rope2d): every patch by its place, the class token not at all.

use super::{Conformance, rows, take};
use puna_core::Device;
use puna_core::ops::Rope2d;
use puna_tests::matrix::{floats, vector};
use puna_tests::seeded::Seeded;
use puna_tests::tolerance::ANGLE;

#[test]
fn grids_and_heads() {
    let mut c = Conformance::new();
    let mut rng = Seeded(44);
    for (tiles, grid, heads, pairs) in
        [(1, 1, 1, 1), (2, 4, 2, 2), (3, 3, 5, 3), (1, 24, 2, 22), (2, 5, 1, 16)]
    {
        let (n, width) = (tiles * (grid * grid + 1), heads * 4 * pairs);
        let x = rng.values(n * width, 3.0);
        let freq: Vec<f32> =
            (0..pairs).map(|j| 10_000f64.powf(-2.0 * j as f64 / (2 * pairs) as f64) as f32).collect();
        let run = |d: &mut dyn Device| {
            let inv_freq = vector(d, &floats(&freq), pairs);
            let x = rows(d, &x, width, 2);
            d.issue(&Rope2d { x, grid, inv_freq }.into()).unwrap();
            take(d, x, &[])
        };
        c.check(&format!("Rope2d {tiles} tiles of {grid}, {heads} heads"), run, |_| {
            vec![ANGLE * 3.0; n * width]
        });
    }
}
