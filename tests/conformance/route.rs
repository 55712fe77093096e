//! [`Route`](puna_core::ops::Route): scores, order, ties and NaN. Choices are seen through experts that mark their place.

use super::{Conformance, rows, take};
use puna_core::ops::{ExpertFfn, Picks, Route};
use puna_core::{DType, Device, Elem, Expert, Layout, Rows};
use puna_cpu::matmul::Activations;
use puna_tests::matrix::{Matrix, PLAIN, Place};
use puna_tests::seeded::Seeded;
use puna_tests::tolerance::{EXP, Uncertain, product};

/// The scores, and for each row which experts were chosen (1 in the expert's place).
fn route(d: &mut dyn Device, x: &[f32], router: &Matrix, top_k: usize) -> (Vec<f32>, Vec<f32>) {
    let (n, n_experts) = (x.len() / router.n_in, router.n_out);
    let x = rows(d, x, router.n_in, 1);
    let picks = Picks {
        ids: d.alloc(Elem::U32, n * top_k + 2).unwrap(),
        scores: d.alloc(Elem::F32, n * top_k).unwrap(),
        top_k,
    };
    let mat = router.load(d);
    d.issue(&Route { x, router: &mat, always: None, picks }.into()).unwrap();
    let mut scores = vec![0.0; n * top_k];
    d.read(&Rows::new(picks.scores, n, top_k), &mut scores).unwrap();

    // Expert e takes its input's first value and writes to place e.
    let ones = rows(d, &vec![1.0; n * n_experts], n_experts, 0);
    let marks = rows(d, &vec![0.0; n * n_experts], n_experts, 0);
    let first: Vec<f32> = (0..n_experts).map(|i| f32::from(u8::from(i == 0))).collect();
    let experts: Vec<Expert> = (0..n_experts)
        .map(|e| {
            let down: Vec<f32> = (0..n_experts).map(|o| f32::from(u8::from(o == e))).collect();
            let first = Matrix::from_values(1, n_experts, &first).load(d);
            Expert { gate: first, up: first, down: Matrix::from_values(n_experts, 1, &down).load(d) }
        })
        .collect();
    // What is added depends on the score, so only whether something was added counts.
    d.issue(&ExpertFfn { x: ones, experts: &experts, picks, out: marks }.into()).unwrap();
    let marks = take(d, marks, &[x, ones]);
    d.free(picks.ids);
    d.free(picks.scores);
    (scores, marks.iter().map(|v| f32::from(u8::from(*v != 0.0))).collect())
}

fn check(c: &mut Conformance, what: &str, x: &[f32], router: &Matrix, top_k: usize) {
    let sigma = |_| {
        // Never from rounded activations, whatever was allowed.
        let logits = product(&Uncertain::exact(x), router, Activations::F32);
        let mut sigma = Vec::new();
        for logits in logits.sigma.chunks_exact(router.n_out) {
            // The slope of the sigmoid is at most a quarter.
            let most = logits.iter().fold(0.0f64, |m, s| m.max(*s)) / 4.0 + EXP;
            sigma.extend(vec![most; top_k]);
        }
        sigma.extend(vec![0.0; logits.values.len()]);
        sigma
    };
    let run = |d: &mut dyn Device| {
        let (mut all, marks) = route(d, x, router, top_k);
        all.extend(marks);
        all
    };
    c.check(what, run, sigma);
}

#[test]
fn every_format_and_many_shapes() {
    let mut c = Conformance::new();
    let mut rng = Seeded(71);
    for dtype in DType::ALL {
        for (n, n_experts, top_k) in [(1, 16, 1), (1, 5, 2), (9, 4, 1), (20, 7, 3), (3, 1, 1), (2, 128, 1)] {
            let n_in = 40usize.next_multiple_of(dtype.block_len());
            let router = Matrix::random(&mut rng, dtype, n_experts, n_in, PLAIN);
            let x = rng.activations(n * n_in);
            check(&mut c, &format!("Route {dtype} {n} rows, {top_k} of {n_experts}"), &x, &router, top_k);
        }
    }
    let turned = Place { layout: Layout::InOut, offset: 2, gap: 6, scaled: true };
    let router = Matrix::random(&mut rng, DType::F16, 6, 50, turned);
    let x = rng.activations(4 * 50);
    check(&mut c, "Route turned", &x, &router, 2);
}

#[test]
fn of_equal_logits_the_lowest_index() {
    let mut c = Conformance::new();
    let router = Matrix::from_values(6, 2, &[1.0, 0.0, 2.0, 0.0, 2.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0]);
    let x = [1.0, 2.0, -1.0, 0.0, 0.0, 0.0];
    check(&mut c, "Route ties", &x, &router, 2);
    let (scores, marks) = route(&mut *c.devices[0].device.fork().unwrap(), &x, &router, 2);
    let sigmoid = |v: f32| 1.0 / (1.0 + (-v).exp());
    assert_eq!(marks, [0., 1., 1., 0., 0., 0., 0., 0., 0., 1., 0., 1., 1., 1., 0., 0., 0., 0.]);
    for (found, logit) in scores.iter().zip([2.0, 2.0, 0.0, 0.0, 0.0, 0.0]) {
        assert!((found - sigmoid(logit)).abs() < 1e-6);
    }
}

#[test]
fn nan_is_never_preferred() {
    let mut c = Conformance::new();
    let router = Matrix::from_values(3, 1, &[f32::NAN, -5.0, 1.0]);
    check(&mut c, "Route NaN", &[1.0, -1.0], &router, 2);
    let (_, marks) = route(&mut *c.devices[0].device.fork().unwrap(), &[1.0], &router, 2);
    assert_eq!(marks, [0.0, 1.0, 1.0]);
}
