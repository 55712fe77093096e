//! Whole models through the façade: tokens a second of prefill and of decode.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking, and its entry point is a macro's"
)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use puna::{Cancel, LoadOptions, Model, Sampling, SessionOptions};
use puna_benches::{smollm2, threads};
use puna_testkit::goldens::{Golden, Rounding};
use std::time::Duration;

const PROMPT: usize = 256;
const DECODE: usize = 16;

fn model(c: &mut Criterion, name: &str, model: &Model) {
    let vocab = model.info().vocab as u32;
    let prompt: Vec<u32> = (0..PROMPT as u32).map(|i| (i * 37 + 11) % vocab).collect();
    let empty = model.session(&SessionOptions::default().context(PROMPT + 2 * DECODE)).unwrap();
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(PROMPT as u64));
    group.bench_function("prefill", |b| {
        b.iter_batched_ref(
            || empty.fork().unwrap(),
            |session| {
                session.push_tokens(&prompt).unwrap();
                session.prefill(&Cancel::new()).unwrap();
            },
            BatchSize::PerIteration,
        );
    });
    let mut read = empty.fork().unwrap();
    read.push_tokens(&prompt).unwrap();
    read.prefill(&Cancel::new()).unwrap();
    group.throughput(Throughput::Elements(DECODE as u64));
    group.bench_function("decode", |b| {
        b.iter_batched_ref(
            || read.fork().unwrap(),
            |session| session.generate(&Sampling::default()).max_tokens(DECODE).ignore_end().count(),
            BatchSize::PerIteration,
        );
    });
}

/// A seeded Llama 4 with experts in every layer: what is measured is the cost of everything but arithmetic.
fn seeded(c: &mut Criterion) {
    let file = Golden::load("scout").gguf(Rounding::Q8_0);
    let options = LoadOptions::default().threads(threads());
    model(c, "seeded llama4", &Model::from_bytes(file, &options).unwrap());
}

/// Real weights, where `cargo xtask models` has fetched them.
fn fetched(c: &mut Criterion) {
    if let Some(path) = smollm2() {
        model(
            c,
            "smollm2 135m q4_1",
            &Model::open(path, &LoadOptions::default().threads(threads())).unwrap(),
        );
    }
}

criterion_group! {
    name = models;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(5)).sample_size(10);
    targets = seeded, fetched
}
criterion_main!(models);
