//! Matrices of every format, and what their products must be.

use crate::isas::isas;
use puna_core::reference::{self, MatData};
use puna_core::{DType, Layout, Mat, Weight};
use puna_cpu::matmul::{Activations, Form, Kernels, MatRef, Packed, Scratch};

/// Outputs by inputs.
const BLOCK_SHAPES: [(usize, usize); 6] = [(1, 256), (7, 768), (16, 1024), (33, 512), (65, 256), (5, 5120)];
/// More for formats with blocks of 32.
const SMALL_BLOCK_SHAPES: [(usize, usize); 4] = [(33, 32), (16, 96), (7, 288), (3, 1120)];
const PLAIN_SHAPES: [(usize, usize); 8] =
    [(1, 1), (7, 19), (16, 64), (33, 515), (70, 257), (5, 2050), (100, 33), (131, 801)];

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as u32
    }

    /// In `-1..1`.
    pub(crate) fn unit(&mut self) -> f32 {
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
pub(crate) struct Case {
    pub(crate) mat: Mat,
    pub(crate) bytes: Vec<u8>,
    pub(crate) scale: Option<Vec<f32>>,
}

impl Case {
    pub(crate) fn new(dtype: DType, layout: Layout, n_out: usize, n_in: usize, random: &mut Random) -> Self {
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

    pub(crate) fn as_ref(&self) -> MatRef<'_> {
        MatRef { mat: &self.mat, bytes: &self.bytes, scale: self.scale.as_deref() }
    }

    pub(crate) fn reference(&self, x: &[f32]) -> Vec<f32> {
        let data = MatData { mat: &self.mat, bytes: &self.bytes, scale: self.scale.as_deref() };
        let mut out = vec![0.0; x.len() / self.mat.n_in * self.mat.n_out];
        reference::matmul(x, &data, None, &mut out, false).unwrap();
        out
    }

    /// The product with weights rounded to BF16, ties away from zero.
    pub(crate) fn rounded_reference(&self, x: &[f32]) -> Vec<f32> {
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
    pub(crate) fn size(&self, x: &[f32]) -> f32 {
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

    pub(crate) fn product(&self, kernels: &Kernels, x: &[f32], ranges: &[usize]) -> Vec<f32> {
        let n_rows = x.len() / self.mat.n_in;
        self.product_in(kernels.form(self.mat.dtype, self.mat.layout, n_rows), kernels, x, ranges)
    }

    pub(crate) fn product_in(&self, form: Form, kernels: &Kernels, x: &[f32], ranges: &[usize]) -> Vec<f32> {
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
pub(crate) fn exact_x(n: usize, random: &mut Random) -> Vec<f32> {
    let whole = |i: usize, random: &mut Random| match i % 32 {
        0 => 127.0,
        _ => (random.bits() % 255) as f32 - 127.0,
    };
    (0..n).map(|i| whole(i, random) / 64.0).collect()
}

pub(crate) fn assert_close(got: &[f32], expected: &[f32], tolerance: f32, what: &str) {
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
pub(crate) fn for_all(activations: Activations, mut f: impl FnMut(&Case, &Kernels, &mut Random, &str)) {
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
