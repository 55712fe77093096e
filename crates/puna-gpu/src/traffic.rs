//! The bytes that matrix products move, by exact formulas of what their kernels load and store.
//!
//! Weights are counted load by load, for every workgroup that loads them. Activations are counted once a dispatch: a
//! row is some 20 KB and stays in the caches, while the weights pass through them once.

use puna_shaders::quant::Format;
use puna_shaders::{Shape, Tier};

/// Values of a step of `matmul/shared_row`.
const STEP: usize = 512;

/// Bytes of the weights of one output.
fn row_bytes(format: Format, n_in: usize) -> usize {
    // Plain formats are blocks of eight here, and rows may end within one.
    if format.plain {
        n_in * (format.block_bytes / format.block_len)
    } else {
        n_in / format.block_len * format.block_bytes
    }
}

/// Bytes of weights that one row or tile of rows loads, by a matrix whose outputs begin every `stride` bytes from byte
/// `base` of its binding on.
pub(crate) fn weights(
    (tier, shape): (Tier, Shape),
    format: Format,
    (base, stride): (usize, usize),
    (n_in, n_out): (usize, usize),
) -> u64 {
    let bytes = row_bytes(format, n_in);
    if !tier.shared() || shape == Shape::Tile {
        return (bytes * n_out) as u64;
    }
    // Steps come in whole vectors of 16 bytes, the first and the last of which a step may share with its neighbours.
    let step = STEP / format.block_len * format.block_bytes;
    let one = |o: usize| {
        let start = base + o * stride;
        (0..bytes)
            .step_by(step.max(1))
            .map(|at| {
                let end = start + (at + step).min(bytes);
                16 * (end.div_ceil(16) - (start + at) / 16)
            })
            .sum::<usize>() as u64
    };
    // How outputs lie among vectors of 16 bytes repeats after 16 of them.
    let (rounds, rest) = ((n_out / 16) as u64, n_out % 16);
    let round: u64 = if rounds > 0 { (0..16).map(one).sum() } else { 0 };
    rounds * round + (0..rest).map(one).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use puna_shaders::quant::{FORMATS, by_name};

    const ROW: (Tier, Shape) = (Tier::Subgroup, Shape::Row);

    /// A walk through the loads of `matmul/shared_row`, lane by lane.
    fn walked(format: Format, (base, stride): (usize, usize), (n_in, n_out): (usize, usize)) -> u64 {
        let (step_bytes, bytes) = (STEP / format.block_len * format.block_bytes, row_bytes(format, n_in));
        let step_words = step_bytes.div_ceil(16) + 1;
        let mut loads = 0;
        for o in 0..n_out {
            for first in (0..n_in).step_by(STEP) {
                let start = base + o * stride + first / format.block_len * format.block_bytes;
                let here = step_bytes.min(bytes - first / format.block_len * format.block_bytes);
                loads += (0..step_words).filter(|i| (start / 16 + i) * 16 < start + here).count();
            }
        }
        16 * loads as u64
    }

    #[test]
    fn formula_is_what_the_lanes_load() {
        for format in FORMATS {
            for (base, gap) in [(0, 0), (13, 6)] {
                for (n_in, n_out) in [(768, 5), (512, 16), (256, 37), (1280, 40)] {
                    let stride = row_bytes(format, n_in) + gap;
                    let (at, dims) = ((base, stride), (n_in, n_out));
                    let found = weights(ROW, format, at, dims);
                    assert_eq!(found, walked(format, at, dims), "{} {at:?} {dims:?}", format.stem);
                    // No less than there is.
                    assert!(found >= (row_bytes(format, n_in) * n_out) as u64);
                }
            }
        }
    }

    /// The matrices that one token of Llama 4 Scout reads: format of most, of `v` and `down` in half of the layers, and of
    /// the head. Bytes of the matrices, and bytes loaded.
    fn scout(most: &str, more: &str, head: &str) -> (u64, u64) {
        let (hidden, kv, ff, vocab, layers) = (5120, 1024, 8192, 202_048, 48);
        let [most, more, head, router] = [most, more, head, "f32"].map(|name| by_name(name).unwrap());
        let mut sums = (0, 0);
        let mut add = |format: Format, n_in: usize, n_out: usize| {
            let stride = row_bytes(format, n_in);
            sums.0 += (stride * n_out) as u64;
            // Activations: the input once, the output once, and once more where it is added to.
            sums.1 += weights(ROW, format, (0, stride), (n_in, n_out)) + 4 * (n_in + 2 * n_out) as u64;
        };
        for layer in 0..layers {
            let some = if layer % 2 == 0 { most } else { more };
            add(most, hidden, hidden);
            add(most, hidden, kv);
            add(some, hidden, kv);
            add(most, hidden, hidden);
            add(router, hidden, 16);
            // The shared expert and the chosen one.
            for _ in 0..2 {
                add(most, hidden, ff);
                add(most, hidden, ff);
                add(some, ff, hidden);
            }
        }
        add(head, hidden, vocab);
        sums
    }

    #[test]
    fn a_token_of_scout_reads_little_but_its_weights() {
        for formats in [["q4_k", "q6_k", "q6_k"], ["q8_0", "q8_0", "q8_0"]] {
            let (held, moved) = scout(formats[0], formats[1], formats[2]);
            assert!(moved as f64 <= 1.05 * held as f64, "{formats:?}: {moved} of {held}");
        }
    }
}
