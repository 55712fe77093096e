//! One test body per op, run for every device: what the scalar reference computes, within the stated rounding.

mod add_rows;
mod attend;
mod attend_all;
mod copy_rows;
mod embed;
mod expert;
mod gelu;
mod kv_append;
mod layer_norm;
mod matmul;
mod pixel_shuffle;
mod qk_prepare;
mod rms_norm;
mod rope_2d;
mod route;
mod swiglu;

use puna_core::{Device, Elem, RefDevice, Rows};
use puna_cpu::matmul::Activations;
use puna_tests::devices::{Candidate, devices};
use puna_tests::tolerance::SIGMAS;
use std::collections::HashMap;

/// Runs cases of one op on all devices.
struct Conformance {
    devices: Vec<Candidate>,
    cases: usize,
}

impl Conformance {
    fn new() -> Self {
        Self { devices: devices(), cases: 0 }
    }

    /// Runs `case` on a fresh fork of every device. Its results must be the reference's up to [`SIGMAS`] times `sigma`,
    /// the same bits on every device of a family, and the same bits when it runs again on used buffers.
    fn check(
        &mut self,
        what: &str,
        case: impl Fn(&mut dyn Device) -> Vec<f32>,
        sigma: impl Fn(Activations) -> Vec<f64>,
    ) {
        let expected = case(&mut RefDevice::new());
        let tolerances = [Activations::F32, Activations::Auto].map(sigma);
        let mut families: HashMap<&str, Vec<f32>> = HashMap::new();
        for candidate in &self.devices {
            let label = &candidate.label;
            let mut device = candidate.device.fork().unwrap();
            let found = case(&mut *device);
            let sigma = &tolerances[usize::from(candidate.activations != Activations::F32)];
            assert_eq!((found.len(), sigma.len()), (expected.len(), expected.len()), "{what} on {label}");
            for (i, ((&found, &expected), sigma)) in found.iter().zip(&expected).zip(sigma).enumerate() {
                let off = (f64::from(found) - f64::from(expected)).abs();
                let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
                assert!(
                    same || off <= SIGMAS * sigma,
                    "{what} on {label}: value {i}: expected {expected}, found {found}, off by {off:.3e}, \
                     allowed {:.3e}",
                    SIGMAS * sigma
                );
            }
            let again = case(&mut *device);
            assert!(bits(&found).eq(bits(&again)), "{what} on {label}: another result when run again");
            let first = families.entry(&candidate.family).or_insert_with(|| found.clone());
            assert!(
                bits(&found).eq(bits(first)),
                "{what} on {label}: the number of threads changed the result"
            );
        }
        self.cases += 1;
    }
}

fn bits(values: &[f32]) -> impl Iterator<Item = u32> {
    values.iter().map(|v| v.to_bits())
}

/// A new buffer that holds `values` after `before` other numbers, seen as rows of `width`.
fn rows(device: &mut dyn Device, values: &[f32], width: usize, before: usize) -> Rows {
    let buf = device.alloc(Elem::F32, before + values.len()).unwrap();
    device.write(buf, 0, &vec![f32::NAN; before]).unwrap();
    device.write(buf, before, values).unwrap();
    Rows { buf, offset: before, n_rows: values.len() / width, width }
}

/// Reads `rows` and gives their buffer and the others back.
fn take(device: &mut dyn Device, rows: Rows, others: &[Rows]) -> Vec<f32> {
    let mut values = vec![0.0; rows.len()];
    device.read(&rows, &mut values).unwrap();
    device.free(rows.buf);
    others.iter().for_each(|rows| device.free(rows.buf));
    values
}
