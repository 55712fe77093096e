//! [`LayerNorm`](puna_core::ops::LayerNorm), over widths around every vector size.

use super::{Conformance, rows, take};
use puna_core::Device;
use puna_core::ops::LayerNorm;
use puna_tests::matrix::{floats, vector};
use puna_tests::seeded::Seeded;
use puna_tests::tolerance::{EXP, ROUND, SUM};

#[test]
fn many_widths() {
    let mut c = Conformance::new();
    let mut rng = Seeded(41);
    for width in [2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 48, 88, 100, 127, 129, 1408] {
        for (n, eps, scale, mean) in [(1, 1e-5, 1.0, 0.0), (3, 1e-6, 30.0, 5.0), (18, 1e-5, 1e-2, -0.1)] {
            let x: Vec<f32> = rng.values(n * width, scale).iter().map(|v| v + mean).collect();
            let weight: Vec<f32> = (0..width).map(|_| 1.0 + 0.2 * rng.unit()).collect();
            let bias = rng.values(width, 0.3);
            let run = |d: &mut dyn Device| {
                let [weight, bias] = [&weight, &bias].map(|v| vector(d, &floats(v), width));
                let x = rows(d, &x, width, 4);
                let out = rows(d, &vec![f32::NAN; n * width], width, 1);
                d.issue(&LayerNorm { x, weight, bias, eps, out }.into()).unwrap();
                take(d, out, &[x])
            };
            let sigma = |_| {
                let row = |x: &[f32]| {
                    let sum = |f: &dyn Fn(f64) -> f64| x.iter().map(|&v| f(v.into())).sum::<f64>();
                    let n = width as f64;
                    let (mean, mass) = (sum(&|v| v) / n, sum(&f64::abs) / n);
                    let factor = 1.0 / (sum(&|v| (v - mean).powi(2)) / n + f64::from(eps)).sqrt();
                    let off = move |(x, (w, b)): (&f32, (&f32, &f32))| {
                        let (x, w) = (f64::from(*x), f64::from(*w).abs() * factor);
                        // The mean's own rounding, and its share in the variance, before the factor makes them large.
                        let shift = SUM * mass + ROUND * x.abs();
                        let scaled = (x - mean).abs() * w;
                        shift * w + scaled * (EXP + 2.0 * SUM + shift * factor) + ROUND * f64::from(*b).abs()
                    };
                    x.iter().zip(weight.iter().zip(&bias)).map(off).collect::<Vec<f64>>()
                };
                x.chunks_exact(width).flat_map(row).collect()
            };
            c.check(&format!("LayerNorm [{n}, {width}] around {mean}"), run, sigma);
        }
    }
}

/// Rows without variance are the bias.
#[test]
fn rows_of_one_value() {
    let mut c = Conformance::new();
    for width in [1, 5, 64] {
        let run = |d: &mut dyn Device| {
            let [weight, bias] = [2.0, 0.25].map(|v| vector(d, &floats(&vec![v; width]), width));
            let (x, out) = (rows(d, &vec![3.0; width], width, 0), rows(d, &vec![1.0; width], width, 0));
            d.issue(&LayerNorm { x, weight, bias, eps: 1e-5, out }.into()).unwrap();
            take(d, out, &[x])
        };
        c.check("LayerNorm of one value", run, |_| vec![0.0; width]);
    }
}
