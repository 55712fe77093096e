//! Comparisons whose failures say where, by how much and what was expected.

/// The largest difference between two lists.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Index of the element.
    pub at: usize,
    /// Its value.
    pub found: f32,
    /// What it should be.
    pub expected: f32,
    /// The absolute difference; infinite if either is not a number.
    pub size: f32,
}

/// The largest difference; `None` for empty lists.
///
/// # Panics
/// When the lengths differ.
pub fn largest_difference(found: &[f32], expected: &[f32]) -> Option<Difference> {
    assert_eq!(found.len(), expected.len(), "lengths differ");
    let size = |found: f32, expected: f32| {
        let difference = (found - expected).abs();
        if difference.is_nan() { f32::INFINITY } else { difference }
    };
    found
        .iter()
        .zip(expected)
        .enumerate()
        .map(|(at, (&found, &expected))| Difference { at, found, expected, size: size(found, expected) })
        .max_by(|a, b| a.size.total_cmp(&b.size))
}

/// Panics unless all values are within `tolerance`; gives the largest difference.
///
/// # Panics
/// See above.
pub fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) -> f32 {
    assert_eq!(found.len(), expected.len(), "{what}: lengths differ");
    let Some(worst) = largest_difference(found, expected) else { return 0.0 };
    let Difference { at, found, expected, size } = worst;
    assert!(
        size <= tolerance,
        "{what}: element {at} is {found}, expected {expected}: off by {size}, allowed {tolerance}"
    );
    size
}

/// The index of the largest value, the first of equals.
pub fn argmax(values: &[f32]) -> u32 {
    let better = |best: usize, at: usize| if values[at] > values[best] { at } else { best };
    (0..values.len()).fold(0, better) as u32
}

/// Nats by which the distribution over tokens of these logits differs from the expected one (Kullback and Leibler).
pub fn divergence(found: &[f32], expected: &[f32]) -> f64 {
    let log_softmax = |logits: &[f32]| {
        let most = logits.iter().copied().fold(f32::MIN, f32::max);
        let sum: f64 = logits.iter().map(|v| f64::from(v - most).exp()).sum();
        logits.iter().map(|v| f64::from(v - most) - sum.ln()).collect::<Vec<_>>()
    };
    log_softmax(expected).iter().zip(log_softmax(found)).map(|(e, f)| e.exp() * (e - f)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_difference_is_found() {
        let worst = largest_difference(&[1.0, 2.0, 3.0], &[1.0, 2.5, 3.1]).unwrap();
        assert_eq!((worst.at, worst.found, worst.expected, worst.size), (1, 2.0, 2.5, 0.5));
        assert_eq!(largest_difference(&[], &[]), None);
    }

    #[test]
    #[should_panic(expected = "x: element 1 is NaN")]
    fn not_a_number_is_never_close() {
        assert_close("x", &[0.0, f32::NAN], &[0.0, f32::NAN], 1.0);
    }

    #[test]
    #[should_panic(expected = "off by")]
    fn tolerance_is_kept() {
        assert_close("x", &[0.0, 1.0], &[0.0, 1.1], 0.05);
    }
}
