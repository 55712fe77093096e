//! [`AttendAll`](puna_core::ops::AttendAll): every row sees its whole group and nothing of another.

use super::{Conformance, rows, take};
use puna_core::Device;
use puna_core::ops::AttendAll;
use puna_tests::seeded::Seeded;
use puna_tests::tolerance::{SUM, attention};

#[test]
fn groups_and_heads() {
    let mut c = Conformance::new();
    let mut rng = Seeded(45);
    for (groups, group, heads, head_dim) in
        [(1, 1, 1, 4), (2, 3, 2, 8), (5, 17, 4, 12), (1, 577, 1, 88), (3, 50, 2, 88), (2, 33, 3, 64)]
    {
        for size in [0.3, 1.0, 4.0] {
            let (n, width) = (groups * group, heads * head_dim);
            let [q, k] = [0, 1].map(|_| rng.values(n * width, size));
            let v = rng.values(n * width, 1.0);
            let scale = 1.0 / (head_dim as f32).sqrt();
            let run = |d: &mut dyn Device| {
                let [q, k, v] = [&q, &k, &v].map(|values| rows(d, values, width, 3));
                let out = rows(d, &vec![f32::NAN; n * width], width, 1);
                d.issue(&AttendAll { q, k, v, out, group, head_dim, scale }.into()).unwrap();
                take(d, out, &[q, k, v])
            };
            let score = f64::from(size * size * scale) * head_dim as f64;
            let what = format!("AttendAll {groups} x {group}, {heads} heads of {head_dim}");
            c.check(&what, run, |_| vec![attention(SUM * score, 1.0); n * width]);
        }
    }
}
