//! [`CopyRows`](crate::ops::CopyRows), scalar.

/// Copies `from` to `to`, or adds it.
pub fn copy_rows(from: &[f32], to: &mut [f32], add: bool) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = if add { *to + from } else { *from };
    }
}
