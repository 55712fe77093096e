//! Kernels of the CPU device, op by op, at the dimensions of Scout: hidden 5120, experts 8192 wide, heads of 128.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking, and its entry point is a macro's"
)]

mod attend;
mod expert;
mod matmul;

use criterion::{Criterion, criterion_group, criterion_main};
use std::time::Duration;

criterion_group! {
    name = kernels;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2)).sample_size(10);
    targets = matmul::decode, matmul::prefill, attend::decode, attend::prefill, expert::decode, expert::prefill
}
criterion_main!(kernels);
