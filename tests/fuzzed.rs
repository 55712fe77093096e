//! Every fuzz target over its stored inputs, and over some thousand seeded mutations of them.

use puna_fuzz::driver::{mutate, stored_inputs};
use puna_fuzz::{TARGETS, Target};
use std::time::{Duration, Instant};

#[test]
fn stored_inputs_pass() {
    for (name, target) in TARGETS {
        let inputs = stored_inputs(name).unwrap();
        assert!(inputs.len() >= 3, "fuzz/corpus/{name} holds {} inputs", inputs.len());
        let bytes: usize = inputs.iter().map(|(_, data)| data.len()).sum();
        assert!(bytes < 400_000, "fuzz/corpus/{name} holds {bytes} bytes: minimise it");
        for (path, data) in inputs {
            // A panic names only the target's line; the input's name is worth knowing too.
            let done = std::panic::catch_unwind(|| target(&data));
            assert!(done.is_ok(), "{} stops {name}", path.display());
        }
    }
}

/// The same mutations everywhere, as many as fit a budget: slow machines run fewer, never others.
#[test]
fn mutations_pass() {
    const ROUNDS: usize = 100;
    const BUDGET: Duration = Duration::from_millis(800);
    for (name, target) in TARGETS {
        let inputs: Vec<Vec<u8>> = stored_inputs(name).unwrap().into_iter().map(|(_, data)| data).collect();
        let start = Instant::now();
        let mut seed = 0;
        while seed < 100 && (seed == 0 || start.elapsed() < BUDGET) {
            mutate(*target, &inputs, ROUNDS, seed);
            seed += 1;
        }
    }
}

/// Nothing at all, and inputs without any structure.
#[test]
fn bytes_without_structure_pass() {
    let long = vec![b'['; 100_000];
    for (_, target) in TARGETS {
        let target: Target = *target;
        target(b"");
        target(&long);
        for byte in 0..=255u8 {
            target(&[byte]);
            target(&[byte; 64]);
        }
    }
}
