//! Every kernel of the matrix product, on every instruction set of this machine, against the scalar reference.
//!
//! The scalar lanes are the twin of the AVX-512 lanes: the same kernels at the same widths. A machine without AVX-512
//! so still runs the code that AVX-512 machines run, all but the one-line wrappers of its instructions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod isas;

use isas::isas;
use puna_core::reference::{self, MatData};
use puna_core::{DType, Layout, Mat, Weight};
use puna_cpu::isa::Isa;
use puna_cpu::matmul::{Activations, Form, Kernels, MatRef, Packed, Scratch};

/// Small numbers of rows, those around the sizes where kernels change, and a crowd.
const ROWS: [usize; 12] = [1, 2, 3, 4, 5, 8, 13, 16, 17, 32, 33, 100];
/// Outputs by inputs.
const BLOCK_SHAPES: [(usize, usize); 6] = [(1, 256), (7, 768), (16, 1024), (33, 512), (65, 256), (5, 5120)];
/// More for formats with blocks of 32.
const SMALL_BLOCK_SHAPES: [(usize, usize); 4] = [(33, 32), (16, 96), (7, 288), (3, 1120)];
const PLAIN_SHAPES: [(usize, usize); 8] =
    [(1, 1), (7, 19), (16, 64), (33, 515), (70, 257), (5, 2050), (100, 33), (131, 801)];

struct Random(u64);

impl Random {
    fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as u32
    }

    /// In `-1..1`.
    fn unit(&mut self) -> f32 {
        self.bits() as f32 / (1u32 << 30) as f32 - 1.0
    }
}

fn f16_bytes(value: f32) -> [u8; 2] {
    half::f16::from_f32(value).to_le_bytes()
}

/// Random bytes are valid blocks of any format once their f16 scales are ordinary numbers.
fn random_row(dtype: DType, n: usize, random: &mut Random) -> Vec<u8> {
    use DType::*;
    let mut bytes: Vec<u8> = (0..dtype.row_bytes(n).unwrap()).map(|_| random.bits() as u8).collect();
    for block in bytes.chunks_exact_mut(dtype.block_bytes()) {
        let mut scale = |at: usize, size: f32| {
            block[at..at + 2].copy_from_slice(&f16_bytes(size * (1.0 + random.unit() * 0.9)));
        };
        match dtype {
            F32 => block.copy_from_slice(&random.unit().to_le_bytes()),
            F16 => block.copy_from_slice(&f16_bytes(random.unit())),
            BF16 => block.copy_from_slice(&half::bf16::from_f32(random.unit()).to_le_bytes()),
            F8E4M3 => block[0] &= 0xBF,
            Q4_0 | Q5_0 | Q8_0 | IQ4_NL | IQ1_S | IQ2_XXS | IQ2_XS | IQ2_S | IQ3_XXS | IQ3_S | IQ4_XS => {
                scale(0, 0.02)
            }
            Q4_1 | Q5_1 | Q4_K | Q5_K => {
                scale(0, 0.02);
                scale(2, 0.05);
            }
            Q2_K => {
                scale(80, 0.02);
                scale(82, 0.02);
            }
            Q3_K => scale(108, -0.01),
            Q6_K => scale(208, 0.001),
            TQ1_0 => scale(52, 0.5),
            TQ2_0 => scale(64, 0.5),
            MXFP4 => block[0] = 122 + block[0] % 6,
            // The nibbles of the f16 are the top nibbles of four u16.
            IQ1_M => {
                for (at, nibble) in [(49, block[49]), (51, block[51]), (53, 0x40), (55, 0x20)] {
                    block[at] = block[at] & 15 | nibble & 0xF0;
                }
            }
            other => panic!("no random rows of {other}"),
        }
    }
    bytes
}

/// A matrix with gaps between its rows, somewhere in a region.
struct Case {
    mat: Mat,
    bytes: Vec<u8>,
    scale: Option<Vec<f32>>,
}

impl Case {
    fn new(dtype: DType, layout: Layout, n_out: usize, n_in: usize, random: &mut Random) -> Self {
        let mut mat = Mat::plain(Weight(0), dtype, n_out, n_in);
        mat.layout = layout;
        let (rows, width) = mat.stored();
        let row_bytes = dtype.row_bytes(width).unwrap();
        (mat.offset, mat.stride) = (6, row_bytes + 10);
        let mut bytes = vec![0xFF; mat.offset];
        for r in 0..rows {
            bytes.extend(random_row(dtype, width, random));
            if r + 1 < rows {
                bytes.extend([0xFF; 10]);
            }
        }
        assert_eq!(mat.end(), Some(bytes.len()));
        let scale = (n_out % 2 == 1).then(|| (0..n_out).map(|_| random.unit()).collect());
        Self { mat, bytes, scale }
    }

    fn as_ref(&self) -> MatRef<'_> {
        MatRef { mat: &self.mat, bytes: &self.bytes, scale: self.scale.as_deref() }
    }

    fn reference(&self, x: &[f32]) -> Vec<f32> {
        let data = MatData { mat: &self.mat, bytes: &self.bytes, scale: self.scale.as_deref() };
        let mut out = vec![0.0; x.len() / self.mat.n_in * self.mat.n_out];
        reference::matmul(x, &data, None, &mut out, false).unwrap();
        out
    }

    /// The product with weights rounded to BF16, ties away from zero.
    fn rounded_reference(&self, x: &[f32]) -> Vec<f32> {
        let data = MatData { mat: &self.mat, bytes: &self.bytes, scale: None };
        let mut rounded = Vec::new();
        let mut row = vec![0.0; self.mat.n_in];
        for r in 0..self.mat.n_out {
            data.row(r, &mut row).unwrap();
            rounded.extend(row.iter().flat_map(|w| (((w.to_bits() + 0x8000) >> 16) as u16).to_le_bytes()));
        }
        let mat = Mat::plain(Weight(0), DType::BF16, self.mat.n_out, self.mat.n_in);
        Case { mat, bytes: rounded, scale: self.scale.clone() }.reference(x)
    }

    /// What rounding errors are measured by: the largest product of norms.
    fn size(&self, x: &[f32]) -> f32 {
        let data = MatData { mat: &self.mat, bytes: &self.bytes, scale: None };
        let (rows, width) = self.mat.stored();
        let mut row = vec![0.0; width];
        let (mut all, mut largest) = (0.0, 0.0f32);
        for r in 0..rows {
            data.row(r, &mut row).unwrap();
            let norm = row.iter().map(|w| w * w).sum::<f32>();
            all += norm;
            largest = largest.max(norm);
        }
        if self.mat.layout == Layout::InOut {
            largest = all;
        }
        let x =
            x.chunks_exact(self.mat.n_in).map(|x| x.iter().map(|x| x * x).sum::<f32>()).fold(0.0, f32::max);
        (largest * x).sqrt()
    }

    fn product(&self, kernels: &Kernels, x: &[f32], ranges: &[usize]) -> Vec<f32> {
        let n_rows = x.len() / self.mat.n_in;
        self.product_in(kernels.form(self.mat.dtype, self.mat.layout, n_rows), kernels, x, ranges)
    }

    fn product_in(&self, form: Form, kernels: &Kernels, x: &[f32], ranges: &[usize]) -> Vec<f32> {
        let (n_in, n_out) = (self.mat.n_in, self.mat.n_out);
        let len = kernels.packed_len(form, n_in);
        let n_rows = x.len() / n_in;
        let mut bytes = vec![0xFF; len * n_rows];
        for (x, into) in x.chunks_exact(n_in).zip(bytes.chunks_exact_mut(len)) {
            kernels.pack(form, x, n_in, 1.0, into);
        }
        let packed = Packed { form, n_rows, n_in, bytes: &bytes };
        let mut scratch = Scratch::new().unwrap();
        let mut out = vec![f32::NAN; n_rows * n_out];
        let mut start = 0;
        for end in ranges.iter().copied().chain([n_out]) {
            let width = end - start;
            let mut tile = vec![f32::NAN; n_rows * width];
            kernels.product(&self.as_ref(), &packed, start..end, &mut scratch, &mut tile);
            for (out, tile) in out.chunks_exact_mut(n_out).zip(tile.chunks_exact(width.max(1))) {
                out[start..end].copy_from_slice(tile);
            }
            start = end;
        }
        out
    }
}

/// Activations that 8 bits hold exactly: small integers times a power of two, the largest of each group being 127.
fn exact_x(n: usize, random: &mut Random) -> Vec<f32> {
    let whole = |i: usize, random: &mut Random| match i % 32 {
        0 => 127.0,
        _ => (random.bits() % 255) as f32 - 127.0,
    };
    (0..n).map(|i| whole(i, random) / 64.0).collect()
}

fn assert_close(got: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(
            (got - expected).abs() <= tolerance,
            "{what}: [{i}] is {got}, expected {expected} ± {tolerance}"
        );
    }
}

fn shapes(dtype: DType) -> Vec<(usize, usize)> {
    match dtype.block_len() {
        1 => PLAIN_SHAPES.to_vec(),
        32 => [&BLOCK_SHAPES[..], &SMALL_BLOCK_SHAPES].concat(),
        _ => BLOCK_SHAPES.to_vec(),
    }
}

fn layouts(dtype: DType) -> &'static [Layout] {
    if dtype.is_plain() { &[Layout::OutIn, Layout::InOut] } else { &[Layout::OutIn] }
}

/// Calls `f` with every case and every instruction set.
fn for_all(activations: Activations, mut f: impl FnMut(&Case, &Kernels, &mut Random, &str)) {
    for (seed, dtype) in DType::ALL.into_iter().enumerate() {
        let mut random = Random(seed as u64 + 1);
        for &layout in layouts(dtype) {
            for (n_out, n_in) in shapes(dtype) {
                let case = Case::new(dtype, layout, n_out, n_in, &mut random);
                for isa in isas() {
                    let kernels = Kernels::new(isa, activations);
                    let what = format!("{} {dtype} {layout:?} {n_out} x {n_in}", isa.name());
                    f(&case, &kernels, &mut random, &what);
                }
            }
        }
    }
}

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
