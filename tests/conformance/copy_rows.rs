//! [`CopyRows`](puna_core::ops::CopyRows): the same bits, and sums of two numbers, which have one rounding everywhere.

use super::{Conformance, rows, take};
use puna_core::Device;
use puna_core::ops::CopyRows;
use puna_tests::seeded::Seeded;

#[test]
fn copied_and_added() {
    let mut c = Conformance::new();
    let mut rng = Seeded(47);
    for (n, width) in [(1, 1), (3, 5), (17, 64), (2, 5120)] {
        let (from, to) = (rng.values(n * width, 2.0), rng.values(n * width, 1.0));
        for add in [false, true] {
            let run = |d: &mut dyn Device| {
                let (from, to) = (rows(d, &from, width, 3), rows(d, &to, width, 7));
                d.issue(&CopyRows { from, to, add }.into()).unwrap();
                take(d, to, &[from])
            };
            c.check(&format!("CopyRows [{n}, {width}] {add}"), run, |_| vec![0.0; n * width]);
        }
    }
}
