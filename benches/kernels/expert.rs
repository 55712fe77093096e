//! `Route` and `ExpertFfn`: four experts of 2048 by 5120, one chosen for each row.

use criterion::{BenchmarkId, Criterion, Throughput};
use puna_benches::{device, matrix, rows};
use puna_core::ops::{ExpertFfn, Picks, Route};
use puna_core::{DType, Device, Elem, Expert};

const HIDDEN: usize = 5120;
const FF: usize = 2048;
const EXPERTS: usize = 4;

fn run(c: &mut Criterion, name: &str, n: usize) {
    let mut group = c.benchmark_group(name);
    for dtype in [DType::Q4_0, DType::Q4_K, DType::Q6_K, DType::Q8_0, DType::BF16] {
        let mut device = device();
        let router = matrix(&mut device, DType::F32, EXPERTS, HIDDEN);
        let experts: Vec<Expert> = (0..EXPERTS)
            .map(|_| Expert {
                gate: matrix(&mut device, dtype, FF, HIDDEN),
                up: matrix(&mut device, dtype, FF, HIDDEN),
                down: matrix(&mut device, dtype, HIDDEN, FF),
            })
            .collect();
        let picks = Picks {
            ids: device.alloc(Elem::U32, n).unwrap(),
            scores: device.alloc(Elem::F32, n).unwrap(),
            top_k: 1,
        };
        let (x, out) = (rows(&mut device, n, HIDDEN), rows(&mut device, n, HIDDEN));
        group.throughput(match n {
            1 => Throughput::Bytes(3 * experts[0].gate.bytes()),
            _ => Throughput::Elements(2 * 3 * (n * FF * HIDDEN) as u64),
        });
        group.bench_function(BenchmarkId::from_parameter(dtype), |b| {
            b.iter(|| {
                device.issue(&Route { x, router: &router, always: None, picks }.into()).unwrap();
                device.issue(&ExpertFfn { x, experts: &experts, picks, out }.into()).unwrap();
            });
        });
    }
}

pub(crate) fn decode(c: &mut Criterion) {
    run(c, "expert/decode", 1);
}

pub(crate) fn prefill(c: &mut Criterion) {
    run(c, "expert/prefill 64", 64);
}
