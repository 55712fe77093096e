//! A small deterministic mutator, so that targets run on a stable toolchain and in the ordinary test run.

use crate::Target;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The stored inputs of a target: `corpus/NAME` and `regressions/NAME`, in order of their file names.
pub fn stored_inputs(name: &str) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut inputs = Vec::new();
    for folder in ["corpus", "regressions"] {
        let folder = root.join(folder).join(name);
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_file() {
                inputs.push((path.clone(), fs::read(path)?));
            }
        }
    }
    inputs.sort();
    Ok(inputs)
}

/// Runs `target` on `rounds` mutations of the inputs. The same seed makes the same mutations.
///
/// # Panics
/// When the target does, with the input that made it.
#[expect(clippy::panic, reason = "a fuzz target reports by panicking, and so does what drives it")]
pub fn mutate(target: Target, inputs: &[Vec<u8>], rounds: usize, seed: u64) {
    let mut rng = SplitMix(seed);
    for round in 0..rounds {
        let mut data = match inputs {
            [] => Vec::new(),
            inputs => inputs[rng.below(inputs.len())].clone(),
        };
        for _ in 0..=rng.below(4) {
            mutate_once(&mut data, inputs, &mut rng);
        }
        if catch_unwind(|| target(&data)).is_err() {
            panic!("round {round} of seed {seed} stops the target: b\"{}\"", data.escape_ascii());
        }
    }
}

/// Numbers at which parsers tend to break.
const BOUNDARIES: [u64; 12] = [
    0,
    1,
    2,
    31,
    255,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
];

fn mutate_once(data: &mut Vec<u8>, inputs: &[Vec<u8>], rng: &mut SplitMix) {
    let at = rng.below(data.len() + 1);
    match rng.below(7) {
        0 if at < data.len() => data[at] ^= 1 << rng.below(8),
        1 if at < data.len() => data[at] = rng.next() as u8,
        2 => data.truncate(at),
        3 => data.insert(at, rng.next() as u8),
        4 if at + 8 <= data.len() => {
            let width = [1, 2, 4, 8][rng.below(4)];
            let value = BOUNDARIES[rng.below(BOUNDARIES.len())].to_le_bytes();
            data[at..at + width].copy_from_slice(&value[..width]);
        }
        5 if at < data.len() => {
            let end = (at + 1 + rng.below(32)).min(data.len());
            let piece = data[at..end].to_vec();
            let to = rng.below(data.len());
            data.splice(to..to, piece);
        }
        6 if !inputs.is_empty() => {
            let other = &inputs[rng.below(inputs.len())];
            let from = rng.below(other.len() + 1);
            data.truncate(at);
            data.extend_from_slice(&other[from..]);
        }
        _ => data.extend_from_slice(&rng.next().to_le_bytes()),
    }
}

/// Sebastiano Vigna's SplitMix64.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}
