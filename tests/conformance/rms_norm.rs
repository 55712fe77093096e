//! [`RmsNorm`](puna_core::ops::RmsNorm), over widths around every vector size.

use super::{Conformance, rows, take};
use puna_core::Device;
use puna_core::ops::RmsNorm;
use puna_tests::matrix::{floats, vector};
use puna_tests::seeded::Seeded;
use puna_tests::tolerance::{EXP, SUM};

#[test]
fn many_widths() {
    let mut c = Conformance::new();
    let mut rng = Seeded(31);
    for width in [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 40, 64, 100, 127, 129, 256, 1000, 5120] {
        for (n, eps, scale) in [(1, 1e-5, 1.0), (3, 1e-6, 30.0), (18, 1e-5, 1e-3)] {
            let x = rng.values(n * width, scale);
            let weight: Vec<f32> = (0..width).map(|_| 1.0 + 0.2 * rng.unit()).collect();
            let run = |d: &mut dyn Device| {
                let weight = vector(d, &floats(&weight), width);
                let x = rows(d, &x, width, 4);
                let out = rows(d, &vec![f32::NAN; n * width], width, 1);
                d.issue(&RmsNorm { x, weight, eps, out }.into()).unwrap();
                take(d, out, &[x])
            };
            let sigma = |_| {
                let row = |x: &[f32]| {
                    let mean = x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / width as f64;
                    let factor = 1.0 / (mean + f64::from(eps)).sqrt();
                    let off = move |(x, w): (&f32, &f32)| {
                        (SUM + EXP) * (f64::from(*x) * factor * f64::from(*w)).abs()
                    };
                    x.iter().zip(&weight).map(off).collect::<Vec<f64>>()
                };
                x.chunks_exact(width).flat_map(row).collect()
            };
            c.check(&format!("RmsNorm [{n}, {width}]"), run, sigma);
        }
    }
}

#[test]
fn rows_of_zeros_stay_zero() {
    let mut c = Conformance::new();
    for width in [5, 64] {
        let run = |d: &mut dyn Device| {
            let weight = vector(d, &floats(&vec![2.0; width]), width);
            let (x, out) = (rows(d, &vec![0.0; width], width, 0), rows(d, &vec![1.0; width], width, 0));
            d.issue(&RmsNorm { x, weight, eps: 1e-5, out }.into()).unwrap();
            take(d, out, &[x])
        };
        c.check("RmsNorm of zeros", run, |_| vec![0.0; width]);
    }
}
