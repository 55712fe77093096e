//! The normative scalar reference: what every op means, in its shortest obvious form.
//!
//! Each function takes slices and numbers, accumulates in F64 and rounds once, so that it can serve as the oracle for
//! every device. It is not fast and never will be.

mod add_rows;
mod attend;
mod attend_all;
mod copy_rows;
mod device;
mod embed;
mod expert;
mod gelu;
mod kv_append;
mod layer_norm;
mod matmul;
mod pixel_shuffle;
mod qk_prepare;
mod rms_norm;
mod rope_2d;
mod route;
mod swiglu;
mod top_k;

pub use add_rows::add_rows;
pub use attend::attend;
pub use attend_all::attend_all;
pub use copy_rows::copy_rows;
pub use device::RefDevice;
pub use embed::embed_rows;
pub use expert::expert_ffn;
pub use gelu::gelu;
pub use kv_append::kv_append;
pub use layer_norm::layer_norm;
pub use matmul::{MatData, matmul};
pub use pixel_shuffle::pixel_shuffle;
pub use qk_prepare::{HeadPrep, qk_prepare, temperature};
pub use rms_norm::rms_norm;
pub use rope_2d::rope_2d;
pub use route::{choose, route};
pub use swiglu::{silu, swiglu};
pub use top_k::top_k;
