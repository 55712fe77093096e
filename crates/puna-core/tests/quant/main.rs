//! Quantised formats against the `gguf` Python package: dequantisation bit for bit, quantisation byte for byte where
//! the reference is exact, and by error against llama.cpp where it is a search.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod goldens;
mod grids;
mod rows;

use puna_core::DType;
use puna_core::quant::{Quantizer, dequantize_row};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

fn dequantize(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; bytes.len() / dtype.block_bytes() * dtype.block_len()];
    dequantize_row(dtype, bytes, &mut out).unwrap();
    out
}

fn quantize(dtype: DType, values: &[f32], importance: Option<&[f32]>) -> Vec<u8> {
    /// Those with codebooks take a while to make.
    static QUANTIZERS: LazyLock<Mutex<HashMap<&str, Quantizer>>> = LazyLock::new(Mutex::default);
    let mut quantizers = QUANTIZERS.lock().unwrap();
    let quantizer = quantizers.entry(dtype.name()).or_insert_with(|| Quantizer::new(dtype));
    let mut out = vec![0; dtype.row_bytes(values.len()).unwrap()];
    quantizer.row(values, importance, &mut out).unwrap();
    out
}

/// The generator of the goldens that are given as sums.
fn hash(mut x: u32) -> u32 {
    x = (x ^ x >> 16).wrapping_mul(0x7feb_352d);
    x = (x ^ x >> 15).wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

/// `n` values in (−1, 1).
fn uniform(seed: u32, n: usize) -> Vec<f32> {
    (0..n as u32).map(|k| ((f64::from(hash(seed + k)) / 4_294_967_296.0 - 0.5) * 2.0) as f32).collect()
}

/// √(Σ w·error² / Σ w·x²).
fn relative_error(x: &[f32], y: &[f32], weight: Option<&[f32]>) -> f64 {
    let (mut error, mut norm) = (0.0, 0.0);
    for (i, (x, y)) in x.iter().zip(y).enumerate() {
        let w = weight.map_or(1.0, |w| f64::from(w[i]));
        error += w * (f64::from(*x) - f64::from(*y)).powi(2);
        norm += w * f64::from(*x).powi(2);
    }
    (error / norm).sqrt()
}
