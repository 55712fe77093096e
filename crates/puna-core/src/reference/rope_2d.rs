//! [`Rope2d`](crate::ops::Rope2d), scalar.

/// Rows of whole heads of `4 * inv_freq.len()` values, in groups of `grid * grid + 1`, in place.
pub fn rope_2d(x: &mut [f32], width: usize, grid: usize, inv_freq: &[f32]) {
    let pairs = inv_freq.len();
    for (r, row) in x.chunks_exact_mut(width.max(1)).enumerate() {
        let n = r % (grid * grid + 1);
        if n == grid * grid {
            continue;
        }
        let place = [n % grid + 1, n / grid + 1];
        for head in row.chunks_exact_mut(4 * pairs) {
            for (axis, place) in place.into_iter().enumerate() {
                for (j, &freq) in inv_freq.iter().enumerate() {
                    let (sin, cos) = libm::sincos(f64::from(place as f32 * freq));
                    let at = 2 * (axis * pairs + j);
                    let (a, b) = (f64::from(head[at]), f64::from(head[at + 1]));
                    head[at] = (a * cos - b * sin) as f32;
                    head[at + 1] = (a * sin + b * cos) as f32;
                }
            }
        }
    }
}
