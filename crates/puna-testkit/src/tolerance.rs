//! How far results may differ, and why. All are absolute differences between f32 values.

/// Logits of the golden models (standard deviation 2, at most 9), f32 activations, against transformers in f32.
/// Both round each of some hundred additions per value; the order of additions differs. Seen: below 2e-5.
pub const LOGITS: f32 = 5e-4;

/// The residual stream of the golden models, as [`LOGITS`]. It comes before the head, which adds the most rounding.
pub const HIDDEN: f32 = 1e-4;

/// Logits over 20,000 positions: sums over all cached keys, and angles `position * frequency` whose f32 product is
/// off by up to 1e-3 rad at these positions on either side.
pub const LOGITS_LONG: f32 = 2e-3;

/// The residual stream over 20,000 positions, as [`LOGITS_LONG`].
pub const HIDDEN_LONG: f32 = 1e-3;

/// Logits of one prompt on one device, split into batches in two ways: only the order of additions may differ.
pub const SPLIT: f32 = 2e-4;

/// Logits with keys and values in F16 (2^-11 of each value) against F32 ones.
pub const KV_F16: f32 = 5e-2;
