//! Rotary frequencies, with the scalings for long contexts, in the F32 steps that the models were trained with.

use crate::Result;
use crate::config::{RopeConfig, RopeScaling};
use crate::error::with_capacity;
use alloc::vec::Vec;
use core::f32::consts::TAU;

/// Radians per position of each of the `n_rot / 2` pairs: `theta^(-2i / n_rot)`, scaled.
///
/// The steps and their F32 rounding are those of `ROPE_INIT_FUNCTIONS` in Hugging Face transformers.
///
/// # Errors
/// Out of memory.
pub fn inv_freq(rope: &RopeConfig) -> Result<Vec<f32>> {
    let mut freqs = with_capacity(rope.n_rot / 2)?;
    for i in 0..rope.n_rot / 2 {
        let exponent = (2 * i) as f32 / rope.n_rot as f32;
        let base = 1.0 / libm::pow(rope.theta, exponent.into()) as f32;
        freqs.push(match &rope.scaling {
            RopeScaling::None => base,
            RopeScaling::Linear { factor } => base / factor,
            RopeScaling::Llama3 { factor, low, high, original } => {
                llama3(base, *factor, *low, *high, *original)
            }
            RopeScaling::Divisors(divisors) => base / divisors.get(i).copied().unwrap_or(1.0),
        });
    }
    Ok(freqs)
}

/// One frequency: kept if its wavelength is below `original / high`, divided if above `original / low`, blended between.
fn llama3(freq: f32, factor: f32, low: f32, high: f32, original: f32) -> f32 {
    let wavelength = TAU / freq;
    // With `low == high` no wavelength is left for the blend, whose slope would be 0/0.
    if wavelength < original / high || (low == high && wavelength <= original / low) {
        freq
    } else if wavelength > original / low {
        freq / factor
    } else {
        let smooth = (original / wavelength - low) / (high - low);
        (1.0 - smooth) * (freq / factor) + smooth * freq
    }
}
