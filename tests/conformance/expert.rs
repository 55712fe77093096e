//! [`ExpertFfn`](puna_core::ops::ExpertFfn): grouping by expert, the score on the input, and addition to what is there.

use super::{Conformance, rows, take};
use puna_core::ops::{ExpertFfn, Picks, Route};
use puna_core::{DType, Device, Elem, Expert, Layout};
use puna_tests::matrix::{Matrix, PLAIN, Place};
use puna_tests::seeded::Seeded;
use puna_tests::tolerance::{EXP, Uncertain, product, swiglu};

struct Case {
    n: usize,
    top_k: usize,
    /// Gate, up and down of each expert.
    experts: Vec<[Matrix; 3]>,
}

/// Routes the rows by a router with clear choices, then runs the experts.
fn check(c: &mut Conformance, rng: &mut Seeded, case: &Case) {
    let Case { n, top_k, ref experts } = *case;
    let hidden = experts[0][0].n_in;
    let router = Matrix::random(rng, DType::F32, experts.len(), hidden, PLAIN);
    let x = rng.activations(n * hidden);
    let held = rng.values(n * hidden, 1.0);
    let [gate, up, down] = &experts[0];
    let what = format!(
        "ExpertFfn {}/{}/{} {n} rows, {top_k} of {}, {hidden} by {}",
        gate.dtype,
        up.dtype,
        down.dtype,
        experts.len(),
        gate.n_out
    );
    let run = |d: &mut dyn Device| {
        let (x, out) = (rows(d, &x, hidden, 3), rows(d, &held, hidden, 1));
        let picks = Picks {
            ids: d.alloc(Elem::U32, n * top_k).unwrap(),
            scores: d.alloc(Elem::F32, n * top_k).unwrap(),
            top_k,
        };
        let router = router.load(d);
        d.issue(&Route { x, router: &router, always: None, picks }.into()).unwrap();
        let load = |e: &[Matrix; 3], d: &mut dyn Device| Expert {
            gate: e[0].load(d),
            up: e[1].load(d),
            down: e[2].load(d),
        };
        let experts: Vec<Expert> = experts.iter().map(|e| load(e, d)).collect();
        d.issue(&ExpertFfn { x, experts: &experts, picks, out }.into()).unwrap();
        d.free(picks.ids);
        d.free(picks.scores);
        take(d, out, &[x])
    };
    c.check(&what, run, |activations| {
        let mut sigma = Vec::new();
        for (x, held) in x.chunks_exact(hidden).zip(held.chunks_exact(hidden)) {
            let x = Uncertain::exact(x);
            let logits = product(&x, &router, puna_cpu::matmul::Activations::F32).values;
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
            let mut out = Uncertain::exact(held);
            for &e in &order[..top_k] {
                let score = 1.0 / (1.0 + (-logits[e]).exp());
                let x = x.times(score, EXP);
                let [gate, up, down] = &experts[e];
                let hidden = swiglu(&product(&x, gate, activations), &product(&x, up, activations));
                out = out.plus(&product(&hidden, down, activations));
            }
            sigma.extend(out.sigma);
        }
        sigma
    });
}

#[test]
fn every_format() {
    let mut c = Conformance::new();
    let mut rng = Seeded(81);
    for dtype in DType::ALL {
        for (n, n_experts, top_k) in [(1, 4, 1), (6, 3, 2), (25, 4, 1)] {
            let (hidden, n_ff) =
                (40usize.next_multiple_of(dtype.block_len()), 20usize.next_multiple_of(dtype.block_len()));
            let expert = |_| {
                [(n_ff, hidden), (n_ff, hidden), (hidden, n_ff)]
                    .map(|(o, i)| Matrix::random(&mut rng, dtype, o, i, PLAIN))
            };
            let experts = (0..n_experts).map(expert).collect();
            check(&mut c, &mut rng, &Case { n, top_k, experts });
        }
    }
}

/// Fused tensors as Hugging Face stores them: inputs outermost, gate and up side by side.
#[test]
fn fused_layouts_and_mixed_formats() {
    let mut c = Conformance::new();
    let mut rng = Seeded(82);
    for (n, top_k) in [(1, 1), (1, 2), (5, 1), (40, 2)] {
        for dtype in [DType::F32, DType::BF16, DType::F16, DType::F8E4M3] {
            let (hidden, n_ff) = (36, 22);
            let side = Place {
                layout: Layout::InOut,
                offset: 6,
                gap: n_ff * dtype.block_bytes(),
                scaled: dtype == DType::F8E4M3,
            };
            let down = Place { gap: 0, offset: 2, ..side };
            let expert = |_| {
                [(n_ff, hidden, side), (n_ff, hidden, side), (hidden, n_ff, down)]
                    .map(|(o, i, place)| Matrix::random(&mut rng, dtype, o, i, place))
            };
            let experts = (0..5).map(expert).collect();
            check(&mut c, &mut rng, &Case { n, top_k, experts });
        }
        // What mixed quantisations do: a wider format for the down matrix.
        let expert = |_| {
            [(DType::Q4_K, 32, 256), (DType::Q4_K, 32, 256), (DType::Q5_0, 256, 32)]
                .map(|(t, o, i)| Matrix::random(&mut rng, t, o, i, PLAIN))
        };
        let experts = (0..3).map(expert).collect();
        check(&mut c, &mut rng, &Case { n, top_k, experts });
    }
}
