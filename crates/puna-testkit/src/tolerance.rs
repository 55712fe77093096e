//! How far results may differ, and why. All are absolute differences between f32 values.

/// Logits of the golden models (standard deviation 2, at most 9), f32 activations, against transformers in f32.
/// Both round each of some hundred additions per value; the order of additions differs. Seen on the
/// scalar reference: below 1e-5, over 20,000 tokens too.
pub const LOGITS: f32 = 5e-4;

/// The residual stream of the golden models, as [`LOGITS`]. It comes before the head, which adds the most rounding.
pub const HIDDEN: f32 = 1e-4;

/// Logits of one prompt on one device, split into batches in two ways: only the order of additions may differ.
pub const SPLIT: f32 = 2e-4;

/// Logits with keys and values in F16 (2^-11 of each value) against F32 ones.
pub const KV_F16: f32 = 5e-2;

/// Outputs of the vision tower's adapter (standard deviation 1.5) on the golden images, against transformers in F32.
pub const FEATURES: f32 = 2e-5;

/// The same after the projector.
pub const PROJECTED: f32 = 1e-4;
