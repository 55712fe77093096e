//! [`AddRows`](puna_core::ops::AddRows): the same table to every group of rows, to the bit.

use super::{Conformance, rows, take};
use puna_core::Device;
use puna_core::ops::AddRows;
use puna_tests::matrix::{floats, vector};
use puna_tests::seeded::Seeded;

#[test]
fn tables_of_every_height() {
    let mut c = Conformance::new();
    let mut rng = Seeded(43);
    for (groups, n, width) in [(1, 1, 1), (1, 17, 48), (3, 5, 33), (4, 2, 7), (2, 577, 16)] {
        let (x, table) = (rng.values(groups * n * width, 2.0), rng.values(n * width, 1.0));
        let run = |d: &mut dyn Device| {
            let table = vector(d, &floats(&table), n * width);
            let x = rows(d, &x, width, 5);
            d.issue(&AddRows { x, table }.into()).unwrap();
            take(d, x, &[])
        };
        c.check(&format!("AddRows {groups} x [{n}, {width}]"), run, |_| vec![0.0; groups * n * width]);
    }
}
