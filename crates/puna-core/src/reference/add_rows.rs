//! [`AddRows`](crate::ops::AddRows), scalar.

/// Adds `table` to each run of `table.len()` values.
pub fn add_rows(x: &mut [f32], table: &[f32]) {
    for x in x.chunks_exact_mut(table.len().max(1)) {
        x.iter_mut().zip(table).for_each(|(x, t)| *x += t);
    }
}
