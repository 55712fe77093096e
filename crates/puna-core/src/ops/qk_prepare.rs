//! What happens to queries and keys between their projection and attention.

use super::expect;
use crate::{DeviceError, Rows, Vector};

/// Rotary embedding, then the weightless norm of each head, then the temperature. In place.
///
/// For row `r` at position `p = pos + r` and each head `u` of `head_dim` values:
/// 1. with `rope`: pair `j` of the first `2 * inv_freq.len` values turns by the angle `p * inv_freq[j]`, computed as an
///    F32 product (the references compute it so, and so did training);
/// 2. with `norm_eps`: `u = u / sqrt(mean(u²) + eps)`;
/// 3. with `temperature`: `u = u * (1 + scale * ln(floor((p + 1) / floor_scale) + 1))`.
///
/// Source: `Llama4TextAttention` in Hugging Face transformers; `Attention.forward` in Meta's `model.py`.
#[derive(Clone, Debug)]
pub struct QkPrepare {
    /// `[n, n_heads * head_dim]`, changed in place.
    pub x: Rows,
    /// Values of one head.
    pub head_dim: usize,
    /// Absolute position of the first row.
    pub pos: u64,
    /// Rotary embedding; `None` on NoPE layers.
    pub rope: Option<Rope>,
    /// The epsilon of the norm; `None` for models without QK-norm and on NoPE layers.
    pub norm_eps: Option<f32>,
    /// Temperature, for the queries of NoPE layers.
    pub temperature: Option<Temperature>,
}

/// The rotary embedding's angles and the order of its pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// Radians per position of each pair, scaling applied; at most `head_dim / 2` values.
    pub inv_freq: Vector,
    /// Which values form a pair.
    pub pairs: Pairs,
}

/// Which two values of a head turn together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// `(2j, 2j + 1)`: Llama 4 everywhere, and every Llama in GGUF.
    Interleaved,
    /// `(j, j + d/2)` with `d = 2 * inv_freq.len`: Llama 2 and 3 in Hugging Face folders.
    Half,
}

/// The query temperature of NoPE layers ("attention temperature tuning").
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature {
    /// Positions between two steps of the temperature.
    pub floor_scale: f32,
    /// Weight of the logarithm.
    pub scale: f32,
}

impl QkPrepare {
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        const OP: &str = "QkPrepare";
        let heads = self.x.width.checked_div(self.head_dim).unwrap_or(0);
        expect(OP, "width in whole heads", self.x.width, heads * self.head_dim)?;
        match self.rope {
            Some(rope) if rope.inv_freq.len > self.head_dim / 2 => {
                expect(OP, "rotary pairs", rope.inv_freq.len, self.head_dim / 2)
            }
            _ => Ok(()),
        }
    }
}
