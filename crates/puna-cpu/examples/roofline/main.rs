//! What each format's kernels reach on one thread, beside what the processor and its memory allow.
//!
//! `cargo run --release -p puna-cpu --example roofline [format ...]`. Matrices are larger than the last-level cache;
//! decode is one row of activations, prefill 32 and 512. Every figure is the median of several runs.
//!
//! `… --example roofline -- --limits 1,2` prints only what the machine allows to so many threads at once, as JSON, and
//! `-- --attend 1,2` what attention of one row over a long context reaches with so many. `-- --rows 2,4,8,12 [format ...]`
//! prints for so many rows of activations what they reach as few, multiplied as weights are unpacked, and as many.

#![allow(clippy::print_stdout, reason = "an example reports on the terminal")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an example may fail by panicking")]

mod attend;
mod limits;
mod memory;
mod peak;

use puna_core::{DType, Layout, Mat, Weight};
use puna_cpu::isa::Isa;
use puna_cpu::matmul::{Activations, Kernels, MatRef, Packed, Scratch};
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Instant;

/// Bytes of a matrix in decode.
const MATRIX: usize = 160 << 20;
/// Inputs of every matrix: the hidden size of Llama 4.
const N_IN: usize = 5120;
/// Outputs that a thread computes at a time.
const RANGE: usize = 256;

/// Seconds that this thread has run, where Linux tells, so that busy neighbours count for less; else the time.
fn seconds() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    match stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()) {
        Some(ns) => ns / 1e9,
        None => START.elapsed().as_secs_f64(),
    }
}

/// Median seconds of a run, from `rounds` that each last a tenth of a second at least: Linux counts in ticks.
fn median(rounds: usize, mut run: impl FnMut()) -> f64 {
    let mut timed = |runs: usize| {
        let start = seconds();
        (0..runs).for_each(|_| run());
        (seconds() - start) / runs as f64
    };
    timed(1);
    let runs = 1 + (0.1 / timed(1).max(1e-3)) as usize;
    let mut rounds: Vec<f64> = (0..rounds).map(|_| timed(runs)).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// Seconds of the fastest run in a quarter of a second.
fn best(run: &mut dyn FnMut()) -> f64 {
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed().as_secs_f64() < 0.25 {
        let clock = Instant::now();
        run();
        best = best.min(clock.elapsed().as_secs_f64());
    }
    best
}

/// GB a second when every byte is looked at once.
fn read_bandwidth(bytes: &[u8]) -> f64 {
    bytes.len() as f64 / median(5, || memory::read(bytes)) / 1e9
}

/// Bytes that are ordinary blocks of any format: every f16 field is a small number, and so is every power of two, or
/// products would be subnormal and slow.
fn weights(dtype: DType, n_out: usize) -> Vec<u8> {
    let len = dtype.row_bytes(N_IN).unwrap() * n_out;
    let mut state = 1u32;
    let mut bytes: Vec<u8> = (0..len)
        .map(|_| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 24) as u8 & 0x3B
        })
        .collect();
    if dtype == DType::BF16 {
        // As large as weights are.
        bytes.iter_mut().skip(1).step_by(2).for_each(|high| *high = (*high & 3) | 0x3C);
    }
    if dtype == DType::MXFP4 {
        bytes.iter_mut().step_by(dtype.block_bytes()).for_each(|exponent| *exponent = 118 + *exponent % 4);
    }
    bytes
}

/// Seconds of one product with `n_rows` rows, packed as so many others would be.
fn product(
    kernels: &Kernels,
    mat: &Mat,
    bytes: &[u8],
    n_rows: usize,
    as_rows: usize,
    time: impl FnOnce(&mut dyn FnMut()) -> f64,
) -> f64 {
    let w = MatRef { mat, bytes, scale: None };
    let form = kernels.form(mat.dtype, mat.layout, as_rows);
    let len = kernels.packed_len(form, N_IN);
    // Rows begin with a cache line, as the device has them.
    let mut packed = vec![0u8; len * n_rows + 63];
    let first = packed.as_ptr().align_offset(64);
    let packed = &mut packed[first..first + len * n_rows];
    for (r, into) in packed.chunks_exact_mut(len).enumerate() {
        let x: Vec<f32> = (0..N_IN).map(|i| ((i * 7 + r) % 23) as f32 / 23.0 - 0.5).collect();
        kernels.pack(form, &x, N_IN, 1.0, into);
    }
    let x = Packed { form, n_rows, n_in: N_IN, bytes: packed };
    let mut scratch = Scratch::new().unwrap();
    let mut tile = vec![0.0; RANGE * n_rows];
    time(&mut || {
        for start in (0..mat.n_out).step_by(RANGE) {
            let outs = start..mat.n_out.min(start + RANGE);
            let tile = &mut tile[..n_rows * outs.len()];
            kernels.product(&w, &x, outs, &mut scratch, tile);
        }
        black_box(&mut tile);
    })
}

/// Prints GOP/s of a few rows, as few and as many: 256 outputs over and over, which stay in cache, the best of a quarter of a
/// second, because the machine's speed changes with its neighbours.
fn few_and_many(isa: Isa, wanted: &[DType], rows: &[usize]) {
    println!("{}, one thread, GOP/s as few and as many rows", isa.name());
    for &dtype in DType::ALL.iter().filter(|dtype| !dtype.is_plain()) {
        if !wanted.is_empty() && !wanted.contains(&dtype) {
            continue;
        }
        let bytes = weights(dtype, RANGE);
        let mat = Mat::plain(Weight(0), dtype, RANGE, N_IN);
        let kernels = Kernels::new(isa, Activations::Auto);
        print!("{:<8}", dtype.to_string());
        for &n_rows in rows {
            let ops = 2.0 * (RANGE * N_IN * n_rows) as f64;
            let [few, many] =
                [1, 512].map(|as_rows| ops / product(&kernels, &mat, &bytes, n_rows, as_rows, best) / 1e9);
            print!("  {n_rows}: {few:.0} {many:.0}");
        }
        println!();
    }
}

fn main() {
    if let [flag, threads] = &std::env::args().skip(1).collect::<Vec<_>>()[..]
        && let Some(print) = match flag.as_str() {
            "--limits" => Some(limits::print as fn(&[usize])),
            "--attend" => Some(attend::print as fn(&[usize])),
            _ => None,
        }
    {
        let threads: Vec<usize> =
            threads.split(',').map(|n| n.parse().expect("numbers of threads")).collect();
        return print(&threads);
    }
    let wanted: Vec<DType> = std::env::args().skip(1).filter_map(|name| DType::from_name(&name)).collect();
    let isa = Isa::detect();
    if std::env::args().nth(1).is_some_and(|flag| flag == "--rows") {
        let rows = std::env::args().nth(2).unwrap_or_default();
        let rows: Vec<usize> = rows.split(',').map(|n| n.parse().expect("numbers of rows")).collect();
        return few_and_many(isa, &wanted, &rows);
    }
    println!("{}, one thread", isa.name());
    println!("read                 {:8.1} GB/s", read_bandwidth(&weights(DType::F32, MATRIX / 4 / N_IN)));
    let rate = |burst: &dyn Fn() -> f64| burst() / median(5, || _ = burst()) / 1e9;
    if peak::byte_burst().is_some() {
        println!("products of bytes    {:8.1} GOP/s", rate(&|| peak::byte_burst().unwrap()));
    }
    println!("fused multiply-add   {:8.1} GFLOP/s", rate(&peak::float_burst));
    println!(
        "\nformat             decode   rows 3     rows 8    rows 16    rows 32   rows 512  GB/s | GOP/s"
    );
    let formats = DType::ALL.into_iter().flat_map(|dtype| {
        let layouts: &[Layout] =
            if dtype.is_plain() { &[Layout::OutIn, Layout::InOut] } else { &[Layout::OutIn] };
        layouts.iter().map(move |&layout| (dtype, layout))
    });
    for (dtype, layout) in formats {
        if !wanted.is_empty() && !wanted.contains(&dtype) {
            continue;
        }
        let n_out = MATRIX / dtype.row_bytes(N_IN).unwrap() / RANGE * RANGE;
        let bytes = weights(dtype, n_out);
        let mut mat = Mat::plain(Weight(0), dtype, n_out, N_IN);
        mat.layout = layout;
        mat.stride = dtype.row_bytes(mat.stored().1).unwrap();
        let kernels = Kernels::new(isa, Activations::Auto);
        let of_rows =
            |mat: &Mat, n_rows, runs| product(&kernels, mat, &bytes, n_rows, n_rows, |run| median(runs, run));
        print!("{:<14}", format!("{dtype}{}", if layout == Layout::InOut { " in-out" } else { "" }));
        for n_rows in [1, 3] {
            print!(" {:>9.1}", bytes.len() as f64 / of_rows(&mat, n_rows, 5) / 1e9);
        }
        // Prefill re-reads nothing: a smaller part of the matrix tells the same.
        for n_rows in [8, 16, 32, 512] {
            let part = Mat { n_out: 1024.min(n_out), ..mat };
            let ops = 2.0 * (part.n_out * N_IN * n_rows) as f64;
            print!(" {:>10.1}", ops / of_rows(&part, n_rows, 3) / 1e9);
        }
        println!();
    }
}
