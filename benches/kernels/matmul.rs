//! `MatMul` in every format: bytes of weights a second with one row, operations a second with many.

use criterion::{BenchmarkId, Criterion, Throughput};
use puna_benches::{device, formats, matrix, rows};
use puna_core::Device;
use puna_core::ops::MatMul;

const HIDDEN: usize = 5120;
/// Wide enough that the weights of any format do not stay in a cache.
const N_OUT: usize = 8192;

/// One row: the speed of memory is the limit.
pub(crate) fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("matmul/decode");
    for dtype in formats() {
        let mut device = device();
        let w = matrix(&mut device, dtype, N_OUT, HIDDEN);
        let (x, out) = (rows(&mut device, 1, HIDDEN), rows(&mut device, 1, N_OUT));
        group.throughput(Throughput::Bytes(w.bytes()));
        group.bench_function(BenchmarkId::from_parameter(dtype), |b| {
            b.iter(|| device.issue(&MatMul { x, w: &w, bias: None, out, add: false }.into()).unwrap());
        });
    }
}

/// A batch: arithmetic is the limit. An element is one multiplication or one addition.
pub(crate) fn prefill(c: &mut Criterion) {
    const BATCH: usize = 128;
    const N_OUT: usize = 1024;
    let mut group = c.benchmark_group("matmul/prefill 128");
    for dtype in formats() {
        let mut device = device();
        let w = matrix(&mut device, dtype, N_OUT, HIDDEN);
        let (x, out) = (rows(&mut device, BATCH, HIDDEN), rows(&mut device, BATCH, N_OUT));
        group.throughput(Throughput::Elements(2 * (BATCH * N_OUT * HIDDEN) as u64));
        group.bench_function(BenchmarkId::from_parameter(dtype), |b| {
            b.iter(|| device.issue(&MatMul { x, w: &w, bias: None, out, add: false }.into()).unwrap());
        });
    }
}
