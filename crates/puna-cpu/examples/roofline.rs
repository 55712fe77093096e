//! What each format's kernels reach on one thread, beside what the processor and its memory allow.
//!
//! `cargo run --release -p puna-cpu --example roofline [format ...]`. Matrices are larger than the last-level cache;
//! decode is one row of activations, prefill 32 and 512. Every figure is the median of several runs.

#![allow(clippy::print_stdout, reason = "an example reports on the terminal")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an example may fail by panicking")]

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

/// Median seconds of a run.
fn median(runs: usize, mut run: impl FnMut()) -> f64 {
    run();
    let mut seconds: Vec<f64> = (0..runs)
        .map(|_| {
            let start = seconds();
            run();
            seconds() - start
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[runs / 2]
}

fn read_bandwidth(bytes: &[u8]) -> f64 {
    let seconds = median(5, || {
        let mut sums = [0u64; 32];
        for line in bytes.as_chunks::<256>().0 {
            for (sum, word) in sums.iter_mut().zip(line.as_chunks::<8>().0) {
                *sum ^= u64::from_ne_bytes(*word);
            }
        }
        black_box(sums);
    });
    bytes.len() as f64 / seconds / 1e9
}

#[cfg(target_arch = "x86_64")]
mod peak {
    use super::{black_box, median};
    use core::arch::x86_64::*;

    const ROUNDS: usize = 1_000_000;

    /// 12 chains of `maddubs`, `madd` and add: operations (two to a multiply-add) a second.
    #[target_feature(enable = "avx2")]
    fn maddubs() {
        let (a, b, one) =
            (black_box(_mm256_set1_epi8(3)), black_box(_mm256_set1_epi8(5)), _mm256_set1_epi16(1));
        let mut sums = [_mm256_setzero_si256(); 12];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                let a = _mm256_xor_si256(a, *sum);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), one));
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    fn fma() {
        let (a, b) = (black_box(_mm256_set1_ps(0.5)), black_box(_mm256_set1_ps(0.25)));
        let mut sums = [_mm256_setzero_ps(); 12];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, a, b);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    fn vpdpbusd() {
        let (a, b) = (black_box(_mm512_set1_epi8(3)), black_box(_mm512_set1_epi8(5)));
        let mut sums = [_mm512_setzero_si512(); 16];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, a, b);
            }
        }
        black_box(sums);
    }

    pub fn print() {
        let rate = |ops: usize, f: &dyn Fn()| (ops * ROUNDS) as f64 / median(5, f) / 1e9;
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the features were just detected.
            println!("maddubs + madd + add {:8.1} GOP/s", rate(12 * 64, &|| unsafe { maddubs() }));
            // SAFETY: the features were just detected.
            println!("fused multiply-add   {:8.1} GFLOP/s", rate(12 * 16, &|| unsafe { fma() }));
        }
        if is_x86_feature_detected!("avx512vnni") {
            // SAFETY: the features were just detected.
            println!("512-bit vpdpbusd     {:8.1} GOP/s", rate(16 * 128, &|| unsafe { vpdpbusd() }));
        }
    }
}

/// Bytes that are ordinary blocks of any format: every f16 field is a small number.
fn weights(dtype: DType, n_out: usize) -> Vec<u8> {
    let len = dtype.row_bytes(N_IN).unwrap() * n_out;
    let mut state = 1u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 24) as u8 & 0x3B
        })
        .collect()
}

/// Seconds of one product with `n_rows` rows.
fn product(kernels: &Kernels, mat: &Mat, bytes: &[u8], n_rows: usize, runs: usize) -> f64 {
    let w = MatRef { mat, bytes, scale: None };
    let form = kernels.form(mat.dtype, mat.layout);
    let len = kernels.packed_len(form, N_IN);
    let mut packed = vec![0; len * n_rows];
    for (r, into) in packed.chunks_exact_mut(len).enumerate() {
        let x: Vec<f32> = (0..N_IN).map(|i| ((i * 7 + r) % 23) as f32 / 23.0 - 0.5).collect();
        kernels.pack(form, &x, N_IN, 1.0, into);
    }
    let x = Packed { form, n_rows, n_in: N_IN, bytes: &packed };
    let mut scratch = Scratch::new().unwrap();
    let mut tile = vec![0.0; RANGE * n_rows];
    median(runs, || {
        for start in (0..mat.n_out).step_by(RANGE) {
            let outs = start..mat.n_out.min(start + RANGE);
            let tile = &mut tile[..n_rows * outs.len()];
            kernels.product(&w, &x, outs, &mut scratch, tile);
        }
        black_box(&mut tile);
    })
}

fn main() {
    let wanted: Vec<DType> = std::env::args().skip(1).filter_map(|name| DType::from_name(&name)).collect();
    let isa = Isa::detect();
    println!("{}, one thread", isa.name());
    println!("read                 {:8.1} GB/s", read_bandwidth(&weights(DType::F32, MATRIX / 4 / N_IN)));
    #[cfg(target_arch = "x86_64")]
    peak::print();
    println!(
        "\n{:<14} {:>10} {:>8} {:>10} {:>10} {:>10}  GB/s | GOP/s",
        "format", "decode", "rows 3", "rows 8", "rows 32", "rows 512"
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
        print!("{:<14}", format!("{dtype}{}", if layout == Layout::InOut { " in-out" } else { "" }));
        for n_rows in [1, 3] {
            print!(" {:>9.1}", bytes.len() as f64 / product(&kernels, &mat, &bytes, n_rows, 5) / 1e9);
        }
        // Prefill re-reads nothing: a smaller part of the matrix tells the same.
        for n_rows in [8, 32, 512] {
            let part = Mat { n_out: 1024.min(n_out), ..mat };
            let ops = 2.0 * (part.n_out * N_IN * n_rows) as f64;
            print!(" {:>10.1}", ops / product(&kernels, &part, &bytes, n_rows, 3) / 1e9);
        }
        println!();
    }
}
