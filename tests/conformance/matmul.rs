//! [`MatMul`](puna_core::ops::MatMul): every format, in every place a file may put it.

use super::{Conformance, rows, take};
use puna_core::ops::MatMul;
use puna_core::{DType, Device, Layout};
use puna_tests::matrix::{Matrix, PLAIN, Place, floats, vector};
use puna_tests::seeded::Seeded;
use puna_tests::tolerance::{Uncertain, product};

/// `[n, n_in] x [n_out, n_in]`, with bias and addition to what is there if asked.
fn case(c: &mut Conformance, rng: &mut Seeded, w: &Matrix, n: usize, bias: bool, add: bool) {
    let x = rng.activations(n * w.n_in);
    check(c, rng, w, &x, bias, add);
}

fn check(c: &mut Conformance, rng: &mut Seeded, w: &Matrix, x: &[f32], bias: bool, add: bool) {
    let n = x.len() / w.n_in;
    let held = rng.values(n * w.n_out, 3.0);
    let bias = bias.then(|| rng.values(w.n_out, 2.0));
    let what =
        format!("MatMul {} [{n}, {}] to {}, bias {}, add {add}", w.dtype, w.n_in, w.n_out, bias.is_some());
    let run = |d: &mut dyn Device| {
        let mat = w.load(d);
        let bias = bias.as_ref().map(|b| vector(d, &floats(b), w.n_out));
        let (x, out) = (rows(d, x, w.n_in, 3), rows(d, &held, w.n_out, 5));
        d.issue(&MatMul { x, w: &mat, bias, out, add }.into()).unwrap();
        take(d, out, &[x])
    };
    c.check(&what, run, |activations| {
        let mut out = product(&Uncertain::exact(x), w, activations);
        if let Some(bias) = &bias {
            let bias: Vec<f32> = (0..n).flat_map(|_| bias.iter().copied()).collect();
            out = out.plus(&Uncertain::exact(&bias));
        }
        if add {
            out = out.plus(&Uncertain::exact(&held));
        }
        out.sigma
    });
}

/// Whole blocks of the format, in about this many values.
fn blocks(dtype: DType, about: usize) -> usize {
    about.next_multiple_of(dtype.block_len())
}

#[test]
fn every_format_and_many_shapes() {
    let mut c = Conformance::new();
    let mut rng = Seeded(1);
    for dtype in DType::ALL {
        for (n, n_out, n_in) in [
            (1, 1, 1),
            (1, 67, 300),
            (2, 16, 256),
            (3, 5, 33),
            (4, 64, 512),
            (5, 31, 700),
            (8, 48, 64),
            (17, 33, 257),
            (70, 20, 96),
        ] {
            let w = Matrix::random(&mut rng, dtype, n_out, blocks(dtype, n_in), PLAIN);
            case(&mut c, &mut rng, &w, n, n == 2 || n == 17, n == 3 || n == 17);
        }
    }
    assert!(c.cases > 200);
}

#[test]
fn odd_places_in_a_region() {
    let mut c = Conformance::new();
    let mut rng = Seeded(2);
    for dtype in DType::ALL {
        for offset in [1, 2, 6, 32] {
            let place = Place { offset, gap: [0, 7, 34][rng.below(3)], scaled: rng.below(2) == 0, ..PLAIN };
            let (n, n_out) = (1 + rng.below(9), 1 + rng.below(40));
            let w = Matrix::random(&mut rng, dtype, n_out, blocks(dtype, 65), place);
            case(&mut c, &mut rng, &w, n, false, false);
        }
    }
}

#[test]
fn fused_tensors_with_inputs_outermost() {
    let mut c = Conformance::new();
    let mut rng = Seeded(3);
    for dtype in DType::ALL.into_iter().filter(|t| t.is_plain()) {
        for (n, n_out, n_in) in
            [(1, 1, 1), (1, 96, 64), (1, 130, 513), (3, 17, 40), (8, 64, 64), (19, 33, 35), (66, 40, 24)]
        {
            let place = Place {
                layout: Layout::InOut,
                offset: rng.below(2) * 3,
                gap: rng.below(2) * 64,
                scaled: rng.below(2) == 0,
            };
            let w = Matrix::random(&mut rng, dtype, n_out, n_in, place);
            let (bias, add) = (rng.below(2) == 0, rng.below(3) == 0);
            case(&mut c, &mut rng, &w, n, bias, add);
        }
    }
}

/// Rows of zeros, of one value, of tiny and of large values: where the scale of a block of activations goes wrong.
#[test]
fn activations_at_the_edges() {
    let mut c = Conformance::new();
    let mut rng = Seeded(4);
    for dtype in DType::ALL {
        let n_in = blocks(dtype, 96);
        let w = Matrix::random(&mut rng, dtype, 24, n_in, PLAIN);
        let mut x = vec![0.0; 6 * n_in];
        x[n_in + 5] = -3.0;
        x[2 * n_in..3 * n_in].fill(1.0);
        x[3 * n_in..4 * n_in].copy_from_slice(&rng.values(n_in, 1e-9));
        x[4 * n_in..5 * n_in].copy_from_slice(&rng.values(n_in, 1e4));
        for (i, v) in x[5 * n_in..].iter_mut().enumerate() {
            *v = if i % 2 == 0 { 127.0 } else { -127.0 };
        }
        check(&mut c, &mut rng, &w, &x, false, false);
        for row in x.chunks_exact(n_in) {
            check(&mut c, &mut rng, &w, row, false, false);
        }
    }
}

/// Larger than any cache block or task: the pieces must meet without a seam.
#[test]
fn large_matrices() {
    let mut c = Conformance::new();
    let mut rng = Seeded(5);
    for (dtype, n, n_out, n_in) in [
        (DType::Q4_K, 37, 300, 2048),
        (DType::Q8_0, 130, 257, 544),
        (DType::BF16, 65, 300, 700),
        (DType::Q6_K, 1, 1500, 1024),
        (DType::F32, 1, 2049, 640),
        (DType::F16, 140, 130, 310),
    ] {
        let w = Matrix::random(&mut rng, dtype, n_out, n_in, PLAIN);
        case(&mut c, &mut rng, &w, n, true, true);
    }
}
