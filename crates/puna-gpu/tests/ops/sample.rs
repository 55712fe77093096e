//! The most likely tokens.

use crate::pair::Pair;
use puna_core::Rows;
use puna_core::ops::TopK;

/// Values, indices, the sum and the count of what is not finite; the sum within what an F32 exponential allows.
fn check(pair: &mut Pair, x: Rows, k: usize, case: &str) {
    let out = pair.rows(x.n_rows, 2 * k + 2);
    pair.issue(TopK { x, k, out });
    let (found, expected) = pair.read(&out);
    for (found, expected) in found.chunks(2 * k + 2).zip(expected.chunks(2 * k + 2)) {
        assert_eq!(found[..2 * k], expected[..2 * k], "{case}");
        let off = (found[2 * k] - expected[2 * k]).abs();
        assert!(off <= 1e-5 * expected[2 * k].abs().max(1.0), "{case}: {} {}", found[2 * k], expected[2 * k]);
        assert_eq!(found[2 * k + 1], 0.0, "{case}");
    }
}

#[test]
fn the_most_likely_of_any_row() {
    for (n, width, k) in [(1, 1, 1), (1, 1, 0), (3, 7, 7), (2, 300, 256), (1, 5000, 64), (2, 20_000, 1)] {
        let mut pair = Pair::new(width as u64 + k as u64);
        let x = pair.rows(n, width);
        check(&mut pair, x, k, &format!("{k} of {n} x {width}"));
        // Logits far apart, and few different ones: order by index, zeros of both signs, all alike.
        for values in [&[-90.0, 80.0, 3.5, -0.0, 0.0][..], &[0.0, -0.0], &[2.0]] {
            let row: Vec<f32> =
                (0..n * width).map(|_| values[pair.random.bits() as usize % values.len()]).collect();
            pair.write(x.buf, x.offset, &row);
            check(&mut pair, x, k, &format!("{k} of {n} x {width} of {values:?}"));
        }
    }
}

#[test]
fn what_is_not_finite_is_counted() {
    let mut pair = Pair::new(1);
    let (x, out) = (pair.rows(2, 600), pair.rows(2, 6));
    for (at, value) in [(0, f32::NAN), (599, f32::INFINITY), (300, f32::NEG_INFINITY), (700, f32::NAN)] {
        pair.write(x.buf, x.offset + at, &[value]);
    }
    pair.issue(TopK { x, k: 2, out });
    let (found, expected) = pair.read(&out);
    assert_eq!([found[5], found[11]], [3.0, 1.0]);
    assert_eq!([expected[5], expected[11]], [3.0, 1.0]);
}
