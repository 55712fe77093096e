//! [`Gelu`](puna_core::ops::Gelu): the exact form, from where it is zero to where it is the identity.

use super::{Conformance, rows, take};
use puna_core::Device;
use puna_core::ops::Gelu;
use puna_tests::seeded::Seeded;
use puna_tests::tolerance::EXP;

#[test]
fn all_of_its_range() {
    let mut c = Conformance::new();
    let mut rng = Seeded(42);
    let special = [0.0, -0.0, 1e-30, -1e-30, 3e-8, -5.5, 5.5, -14.0, 14.0, -100.0, 100.0, f32::MAX, f32::MIN];
    for (n, width, scale) in [(1, 13, 0.0), (2, 7, 1.0), (3, 64, 4.0), (5, 129, 12.0), (2, 4096, 3.0)] {
        let mut x = rng.values(n * width, scale);
        x.iter_mut().zip(special).for_each(|(x, special)| *x = special);
        let run = |d: &mut dyn Device| {
            let x = rows(d, &x, width, 3);
            d.issue(&Gelu { x }.into()).unwrap();
            take(d, x, &[])
        };
        // An error function that is off by EXP moves a result by half the value times that.
        let sigma = |_| x.iter().map(|v| EXP * f64::from(*v).abs()).collect();
        c.check(&format!("Gelu [{n}, {width}]"), run, sigma);
    }
}
