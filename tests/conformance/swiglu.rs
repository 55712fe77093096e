//! [`SwiGlu`](puna_core::ops::SwiGlu): both products, the gate, and formats that differ between the two.

use super::{Conformance, rows, take};
use puna_core::ops::SwiGlu;
use puna_core::{DType, Device, Layout};
use puna_tests::matrix::{Matrix, PLAIN, Place};
use puna_tests::seeded::Seeded;
use puna_tests::tolerance::{Uncertain, product, swiglu};

fn case(c: &mut Conformance, rng: &mut Seeded, n: usize, gate: &Matrix, up: &Matrix) {
    let x = rng.activations(n * gate.n_in);
    let what = format!("SwiGlu {} and {} [{n}, {}] to {}", gate.dtype, up.dtype, gate.n_in, gate.n_out);
    let run = |d: &mut dyn Device| {
        let (gate, up) = (gate.load(d), up.load(d));
        let x = rows(d, &x, gate.n_in, 1);
        let out = rows(d, &vec![f32::NAN; n * gate.n_out], gate.n_out, 2);
        d.issue(&SwiGlu { x, gate: &gate, up: &up, out }.into()).unwrap();
        take(d, out, &[x])
    };
    c.check(&what, run, |activations| {
        let x = Uncertain::exact(&x);
        swiglu(&product(&x, gate, activations), &product(&x, up, activations)).sigma
    });
}

#[test]
fn every_format() {
    let mut c = Conformance::new();
    let mut rng = Seeded(11);
    for dtype in DType::ALL {
        for (n, n_ff) in [(1, 37), (1, 64), (3, 5), (9, 40), (33, 16)] {
            let n_in = 96usize.next_multiple_of(dtype.block_len());
            let [gate, up] = [0, 1].map(|_| Matrix::random(&mut rng, dtype, n_ff, n_in, PLAIN));
            case(&mut c, &mut rng, n, &gate, &up);
        }
    }
}

#[test]
fn mixed_formats_and_layouts() {
    let mut c = Conformance::new();
    let mut rng = Seeded(12);
    let turned = Place { layout: Layout::InOut, offset: 4, gap: 128, scaled: false };
    for n in [1, 2, 6, 21] {
        let pairs = [
            ((DType::Q4_K, PLAIN), (DType::Q6_K, PLAIN)),
            ((DType::Q8_0, PLAIN), (DType::F16, PLAIN)),
            ((DType::BF16, turned), (DType::BF16, turned)),
            (
                (DType::F8E4M3, Place { scaled: true, ..PLAIN }),
                (DType::F8E4M3, Place { scaled: true, ..PLAIN }),
            ),
            ((DType::F32, turned), (DType::Q4_0, PLAIN)),
        ];
        for ((a, place_a), (b, place_b)) in pairs {
            let gate = Matrix::random(&mut rng, a, 29, 256, place_a);
            let up = Matrix::random(&mut rng, b, 29, 256, place_b);
            case(&mut c, &mut rng, n, &gate, &up);
        }
    }
}
