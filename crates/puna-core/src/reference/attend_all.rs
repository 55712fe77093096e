//! [`AttendAll`](crate::ops::AttendAll), scalar.

use super::attend::attend;
use crate::ops::Window;

/// Attention within each group of `group` rows of `width` values, for heads of `head_dim`.
pub fn attend_all(
    [q, k, v]: [&[f32]; 3],
    width: usize,
    group: usize,
    head_dim: usize,
    scale: f32,
    out: &mut [f32],
) {
    let heads = q.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim));
    for (i, (q, out)) in heads.enumerate() {
        let (row, column) = (i * head_dim / width, i * head_dim % width);
        let first = row - row % group;
        let load = |part: usize, at: u64, i: usize| [k, v][part][(first + at as usize) * width + column + i];
        attend(q, group as u64 - 1, scale, Window::Full, load, out);
    }
}
