//! One file per op: how it is cut into tasks, and its element-wise kernels.

mod add_rows;
mod attend;
mod copy_rows;
mod embed;
mod expert;
mod gelu;
mod kv_append;
mod layer_norm;
mod matmul;
mod pixel_shuffle;
mod product;
mod qk_prepare;
mod rms_norm;
mod rope_2d;
mod route;
mod simd;
mod swiglu;
mod top_k;

pub(crate) use add_rows::add_rows;
pub(crate) use attend::{attend, attend_all};
pub(crate) use copy_rows::copy_rows;
pub(crate) use embed::embed_rows;
pub(crate) use expert::{Grouping, expert_ffn};
pub(crate) use gelu::gelu;
pub(crate) use kv_append::kv_append;
pub(crate) use layer_norm::layer_norm;
pub(crate) use matmul::matmul;
pub(crate) use pixel_shuffle::pixel_shuffle;
pub(crate) use qk_prepare::{Rotations, qk_prepare};
pub(crate) use rms_norm::rms_norm;
pub(crate) use rope_2d::rope_2d;
pub(crate) use route::route;
pub(crate) use swiglu::swiglu;
pub(crate) use top_k::top_k;

/// Rows that one task of an element-wise op takes: about a thousand values or more.
fn rows_per_task(width: usize) -> usize {
    (4096 / width.max(1)).max(1)
}
