//! [`QkPrepare`](puna_core::ops::QkPrepare): rotation, norm and temperature, alone and together, near and far.

use super::{Conformance, rows, take};
use puna_core::Device;
use puna_core::ops::{Pairs, QkPrepare, Rope, Temperature};
use puna_tests::matrix::{floats, vector};
use puna_tests::seeded::Seeded;
use puna_tests::tolerance::{ANGLE, EXP, SUM};

#[test]
fn every_combination() {
    let mut c = Conformance::new();
    let mut rng = Seeded(41);
    let steps = [
        None,
        Some(Temperature { floor_scale: 8192.0, scale: 0.1 }),
        Some(Temperature { floor_scale: 3.0, scale: 0.7 }),
    ];
    for (n_heads, head_dim, pairs) in
        [(1, 2, 1), (4, 8, 4), (3, 12, 6), (5, 128, 64), (2, 64, 16), (1, 7, 3), (3, 10, 2)]
    {
        // Positions up to the ten million of Scout: the angle is an F32 product there too.
        for pos in [0, 1, 8190, 131_071, 9_999_990] {
            for (kind, norm) in
                [(None, None), (Some(Pairs::Interleaved), Some(1e-5)), (Some(Pairs::Half), None)]
            {
                let n = 1 + rng.below(9);
                let temperature = steps[rng.below(3)];
                let width = n_heads * head_dim;
                let x = rng.values(n * width, 2.0);
                let inv_freq: Vec<f32> =
                    (0..pairs).map(|j| 500_000f32.powf(-(j as f32) / pairs as f32)).collect();
                let what = format!(
                    "QkPrepare {n_heads} heads of {head_dim}, {kind:?}, norm {norm:?}, {temperature:?} at {pos}"
                );
                let run = |d: &mut dyn Device| {
                    let inv_freq = vector(d, &floats(&inv_freq), pairs);
                    let rope = kind.map(|pairs| Rope { inv_freq, pairs });
                    let x = rows(d, &x, width, 3);
                    d.issue(&QkPrepare { x, head_dim, pos, rope, norm_eps: norm, temperature }.into())
                        .unwrap();
                    take(d, x, &[])
                };
                let sigma = |_| {
                    let head = |head: &[f32]| {
                        let largest = head.iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
                        let mean = head.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / head_dim as f64;
                        let factor = if norm.is_some() { 1.0 / (mean + 1e-5).sqrt() } else { 1.0 };
                        // The temperature is at most 1 + 0.7 ln(10^7 / 3).
                        let heat = if temperature.is_some() { 12.0 } else { 1.0 };
                        vec![(2.0 * ANGLE + SUM + EXP) * largest * factor * heat; head_dim]
                    };
                    x.chunks_exact(head_dim).flat_map(head).collect()
                };
                c.check(&what, run, sigma);
            }
        }
    }
}
