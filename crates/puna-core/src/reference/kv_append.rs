//! [`KvAppend`](crate::ops::KvAppend), scalar.

/// Where, in a block of `2 * n_kv_heads * block_tokens * head_dim` elements, the vector of `head` at `slot` starts.
/// `part` is 0 for keys and 1 for values.
pub(super) fn at(part: usize, head: usize, slot: usize, dims: (usize, usize, usize)) -> usize {
    let (n_kv_heads, block_tokens, head_dim) = dims;
    ((part * n_kv_heads + head) * block_tokens + slot) * head_dim
}

/// Stores one position's keys (`part` 0) or values (`part` 1) in slot `slot` of a block, through `store(index, value)`.
/// `dims` is `(n_kv_heads, block_tokens, head_dim)`.
pub fn kv_append(
    values: &[f32],
    part: usize,
    slot: usize,
    dims: (usize, usize, usize),
    mut store: impl FnMut(usize, f32),
) {
    for (head, values) in values.chunks_exact(dims.2).enumerate() {
        let start = at(part, head, slot, dims);
        for (i, &v) in values.iter().enumerate() {
            store(start + i, v);
        }
    }
}
