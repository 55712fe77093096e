//! Every kernel of the matrix product, on every instruction set of this machine, against the scalar reference.
//!
//! The scalar lanes are the twin of the AVX-512 lanes: the same kernels at the same widths. A machine without AVX-512
//! so still runs the code that AVX-512 machines run, all but the one-line wrappers of its instructions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod cases;
#[path = "../isas/mod.rs"]
mod isas;

use cases::{Case, Random, assert_close, exact_x, for_all};
use isas::isas;
use puna_core::{DType, Layout, Mat, Weight};
use puna_cpu::isa::Isa;
use puna_cpu::matmul::{Activations, Form, Kernels, Packed, Scratch};

/// Small numbers of rows, those around the sizes where kernels change, and a crowd.
const ROWS: [usize; 12] = [1, 2, 3, 4, 5, 8, 13, 16, 17, 32, 33, 100];

#[test]
fn exact_activations_give_the_exact_product() {
    for activations in [Activations::Auto, Activations::F32] {
        for_all(activations, |case, kernels, random, what| {
            for n_rows in ROWS {
                if n_rows > 16 && case.mat.n_in > 2048 {
                    continue;
                }
                // Tested below.
                if case.mat.dtype != DType::BF16
                    && kernels.form(case.mat.dtype, case.mat.layout, n_rows) == Form::Bf16
                {
                    continue;
                }
                let x = exact_x(n_rows * case.mat.n_in, random);
                let tolerance = 5e-6 * case.size(&x);
                assert_close(
                    &case.product(kernels, &x, &[]),
                    &case.reference(&x),
                    tolerance,
                    &format!("{what}, {n_rows} rows"),
                );
            }
        });
    }
}

/// Tiles multiply weights of block formats and of F16 that were rounded to BF16; without tiles the same is computed more slowly.
#[test]
fn weights_as_bf16_lose_what_bf16_rounds_away() {
    for_all(Activations::Auto, |case, kernels, random, what| {
        if case.mat.layout != Layout::OutIn || case.mat.dtype.is_plain() && case.mat.dtype != DType::F16 {
            return;
        }
        for n_rows in ROWS {
            if n_rows > 33 && case.mat.n_in > 2048 {
                continue;
            }
            // BF16 holds these, too.
            let x = exact_x(n_rows * case.mat.n_in, random);
            let got = case.product_in(Form::Bf16, kernels, &x, &[case.mat.n_out / 2]);
            // A weight that the reference rounds twice may round to the other neighbour.
            let tolerance = 3e-5 * case.size(&x);
            assert_close(&got, &case.rounded_reference(&x), tolerance, &format!("{what}, {n_rows} rows"));
        }
    });
}

#[test]
fn float_activations_are_not_rounded() {
    for_all(Activations::F32, |case, kernels, random, what| {
        for n_rows in [1, 3, 17, 61] {
            assert_eq!(kernels.form(case.mat.dtype, case.mat.layout, n_rows), Form::F32);
            let x: Vec<f32> = (0..n_rows * case.mat.n_in).map(|_| random.unit()).collect();
            let tolerance = 5e-6 * case.size(&x);
            assert_close(
                &case.product(kernels, &x, &[]),
                &case.reference(&x),
                tolerance,
                &format!("{what}, {n_rows} rows"),
            );
        }
    });
}

#[test]
fn quantised_activations_cost_one_percent() {
    for_all(Activations::Auto, |case, kernels, random, what| {
        if case.mat.n_in < 256 {
            return;
        }
        for n_rows in [1, 3, 17] {
            let x: Vec<f32> = (0..n_rows * case.mat.n_in).map(|_| random.unit()).collect();
            let (got, expected) = (case.product(kernels, &x, &[]), case.reference(&x));
            let square = |v: f32| f64::from(v) * f64::from(v);
            let error: f64 = got.iter().zip(&expected).map(|(a, b)| square(a - b)).sum();
            // Against the size of the terms: sums that happen to cancel say nothing.
            let size = f64::from(case.size(&x)) * (got.len() as f64).sqrt();
            assert!(error.sqrt() <= 0.01 * size, "{what}, {n_rows} rows: {} of {size}", error.sqrt());
        }
    });
}

#[test]
fn bf16_pairs_lose_what_bf16_rounds_away() {
    for_all(Activations::F32, |case, kernels, random, what| {
        if case.mat.dtype != DType::BF16 || case.mat.layout != Layout::OutIn {
            return;
        }
        for n_rows in [1, 2, 3, 5, 6, 7, 8, 9, 17, 33, 50] {
            let x: Vec<f32> = (0..n_rows * case.mat.n_in).map(|_| random.unit()).collect();
            let rounded: Vec<f32> = x.iter().map(|&x| half::bf16::from_f32(x).to_f32()).collect();
            let got = case.product_in(Form::Bf16, kernels, &x, &[case.mat.n_out / 2]);
            let tolerance = 5e-6 * case.size(&x);
            assert_close(&got, &case.reference(&rounded), tolerance, &format!("{what}, {n_rows} rows"));
        }
    });
}

/// Values that tower above the rest of their row cost the others nothing, in few rows and in many; where they are so
/// many that none towers, eight bits cost what they do.
#[test]
fn outliers_do_not_drown_the_rest() {
    for_all(Activations::Auto, |case, kernels, random, what| {
        let n_in = case.mat.n_in;
        if case.mat.dtype.is_plain() || n_in < 512 {
            return;
        }
        for (n_rows, every) in [(1, 512), (3, 512), (40, 512), (2, 32), (40, 32)] {
            let mut x: Vec<f32> = (0..n_rows * n_in).map(|_| random.unit()).collect();
            for at in (random.bits() as usize % every..x.len()).step_by(every) {
                x[at] = 10.0 * (n_in as f32).sqrt() * (0.5 + random.unit().abs());
            }
            let (got, expected) = (case.product(kernels, &x, &[]), case.reference(&x));
            // The outliers' own products round as floats do; the share of the rest is what codes may lose.
            let rest: Vec<f32> = x.iter().map(|&x| if x.abs() > 2.0 { 0.0 } else { x }).collect();
            // For few rows, formats of 256 values have no residuals: an outlier drowns its 32.
            let form = kernels.form(case.mat.dtype, case.mat.layout, n_rows);
            let lost = match (every, form) {
                (512, Form::Q8K) => 0.3 * case.size(&rest),
                // All products lose alike what BF16 rounds away.
                (_, Form::Bf16) => 0.004 * case.size(&x),
                (512, _) => 0.02 * case.size(&rest),
                _ => 0.02 * case.size(&x),
            };
            let tolerance = lost + 5e-6 * case.size(&x);
            assert_close(&got, &expected, tolerance, &format!("{what}, {n_rows} rows, {every}"));
        }
    });
}

/// Whatever an instruction set prefers: codes of a byte and of 16 bits, for few rows and for many.
#[test]
fn steps_of_both_widths_give_the_exact_product() {
    for_all(Activations::Auto, |case, kernels, random, what| {
        if case.mat.dtype.is_plain() {
            return;
        }
        // Kernels for 16-bit codes are there for formats that do not fit in bytes, on AVX2.
        let wide = kernels.form(case.mat.dtype, case.mat.layout, 50) == Form::Steps { wide: true };
        for n_rows in [1, 2, 3, 4, 5, 6, 7, 9, 50] {
            let x = exact_x(n_rows * case.mat.n_in, random);
            let expected = case.reference(&x);
            for wide in [false, true].into_iter().take(if wide { 2 } else { 1 }) {
                let got = case.product_in(Form::Steps { wide }, kernels, &x, &[case.mat.n_out / 3]);
                let what = format!("{what}, {n_rows} rows, wide {wide}");
                assert_close(&got, &expected, 5e-6 * case.size(&x), &what);
            }
        }
    });
}

#[test]
fn ranges_of_outputs_do_not_change_a_bit() {
    for_all(Activations::Auto, |case, kernels, random, what| {
        let n_out = case.mat.n_out;
        for n_rows in [1, 3, 6, 33, 71] {
            if n_rows > 33 && case.mat.n_in > 2048 {
                continue;
            }
            let x: Vec<f32> = (0..n_rows * case.mat.n_in).map(|_| random.unit()).collect();
            let whole = case.product(kernels, &x, &[]);
            for ranges in [vec![n_out / 2], vec![n_out / 3, n_out / 3, n_out / 3 * 2], (1..n_out).collect()] {
                let parts = case.product(kernels, &x, &ranges);
                let same = whole.iter().zip(&parts).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{what}, {n_rows} rows, split at {ranges:?}");
            }
        }
    });
}

#[test]
fn rows_do_not_depend_on_their_neighbours() {
    for_all(Activations::Auto, |case, kernels, random, what| {
        let n_in = case.mat.n_in;
        let x: Vec<f32> = (0..33 * n_in).map(|_| random.unit()).collect();
        let all = case.product(kernels, &x, &[]);
        let form = |n_rows| kernels.form(case.mat.dtype, case.mat.layout, n_rows);
        for n_rows in [1, 2, 3, 4, 5, 32] {
            let some = case.product(kernels, &x[..n_rows * n_in], &[]);
            // Codes for few rows and for many are not the same ones.
            let tolerance = if form(n_rows) == form(33) { 5e-6 } else { 0.02 } * case.size(&x);
            assert_close(&some, &all[..some.len()], tolerance, &format!("{what}, {n_rows} of 33 rows"));
        }
    });
}

#[test]
fn instruction_sets_agree() {
    for_all(Activations::Auto, |case, kernels, random, what| {
        let scalar = Kernels::new(Isa::Scalar, Activations::Auto);
        for n_rows in [1, 9] {
            let x: Vec<f32> = (0..n_rows * case.mat.n_in).map(|_| random.unit()).collect();
            // Others round activations in other ways.
            if kernels.form(case.mat.dtype, case.mat.layout, n_rows)
                == scalar.form(case.mat.dtype, case.mat.layout, n_rows)
            {
                let tolerance = 5e-6 * case.size(&x);
                assert_close(
                    &case.product(kernels, &x, &[]),
                    &case.product(&scalar, &x, &[]),
                    tolerance,
                    what,
                );
            }
        }
    });
}

#[test]
fn no_bytes_and_no_activations_panic() {
    for_all(Activations::Auto, |case, kernels, random, _| {
        let mut case = Case { mat: case.mat, bytes: case.bytes.clone(), scale: case.scale.clone() };
        for fill in [0x00, 0x7F, 0x80, 0xFF] {
            case.bytes.fill(fill);
            for value in [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE, 1e-42, 0.0] {
                let mut x: Vec<f32> = (0..6 * case.mat.n_in).map(|_| random.unit()).collect();
                x[0] = value;
                case.product(kernels, &x[..case.mat.n_in], &[]);
                case.product(kernels, &x, &[]);
            }
        }
    });
}

/// Every code and exponent, alone in its row.
#[test]
fn every_f8_code_and_mxfp4_exponent_is_read_as_the_reference_reads_it() {
    for isa in isas() {
        let kernels = Kernels::new(isa, Activations::F32);
        for n_rows in [1, 6] {
            let mat = Mat::plain(Weight(0), DType::F8E4M3, 256, 1);
            let case = Case { mat, bytes: (0..=255).collect(), scale: None };
            let (x, expected) = (vec![1.0; n_rows], case.reference(&[1.0]));
            for (got, expected) in case.product(&kernels, &x, &[]).iter().zip(expected.iter().cycle()) {
                assert!(
                    got == expected || got.is_nan() && expected.is_nan(),
                    "{}: {got}, {expected}",
                    isa.name()
                );
            }
        }
        let mut case = Case { mat: Mat::plain(Weight(0), DType::MXFP4, 256, 32), bytes: vec![], scale: None };
        for exponent in 0..=255 {
            case.bytes.extend([exponent, 1]);
            case.bytes.extend([0; 15]);
        }
        let mut x = [0.0; 32];
        x[0] = 127.0;
        let got = case.product(&Kernels::new(isa, Activations::Auto), &x, &[]);
        assert_eq!(got, case.reference(&x), "{}", isa.name());
    }
}

#[test]
fn activations_that_are_not_finite_are_not_hidden() {
    for_all(Activations::Auto, |case, kernels, random, what| {
        for (n_rows, value) in [(1, f32::NAN), (6, f32::NAN), (1, f32::INFINITY), (6, f32::NEG_INFINITY)] {
            let mut x: Vec<f32> = (0..n_rows * case.mat.n_in).map(|_| random.unit()).collect();
            x[0] = value;
            let got = case.product(kernels, &x, &[]);
            assert!(got[..case.mat.n_out].iter().all(|y| !y.is_finite()), "{what}");
            assert!(got[case.mat.n_out..].iter().all(|y| y.is_finite()), "{what}: other rows");
        }
    });
}

#[test]
fn a_factor_multiplies_the_row() {
    let mut random = Random(7);
    for dtype in [DType::F32, DType::Q8_0, DType::Q4_K] {
        let case = Case::new(dtype, Layout::OutIn, 8, 256, &mut random);
        for isa in isas() {
            let kernels = Kernels::new(isa, Activations::Auto);
            let form = kernels.form(dtype, Layout::OutIn, 1);
            let x = exact_x(256, &mut random);
            let mut bytes = vec![0; kernels.packed_len(form, 256)];
            kernels.pack(form, &x, 256, 0.25, &mut bytes);
            let packed = Packed { form, n_rows: 1, n_in: 256, bytes: &bytes };
            let mut tile = [0.0; 8];
            kernels.product(&case.as_ref(), &packed, 0..8, &mut Scratch::new().unwrap(), &mut tile);
            let expected: Vec<f32> = case.reference(&x).iter().map(|y| y * 0.25).collect();
            assert_close(&tile, &expected, 5e-6 * case.size(&x), isa.name());
        }
    }
}
