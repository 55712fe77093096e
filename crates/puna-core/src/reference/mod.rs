//! The normative scalar reference: what every op means, in its shortest obvious form.
//!
//! Each function takes slices and numbers, accumulates in F64 and rounds once, so that it can serve as the oracle for
//! every device. It is not fast and never will be.

mod attend;
mod device;
mod embed;
mod expert;
mod kv_append;
mod matmul;
mod qk_prepare;
mod rms_norm;
mod route;
mod swiglu;

pub use attend::attend;
pub use device::RefDevice;
pub use embed::embed_rows;
pub use expert::expert_ffn;
pub use kv_append::kv_append;
pub use matmul::{MatData, matmul};
pub use qk_prepare::{HeadPrep, qk_prepare, temperature};
pub use rms_norm::rms_norm;
pub use route::route;
pub use swiglu::{silu, swiglu};
