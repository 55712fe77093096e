//! Weight matrices of seeded values in any format, order and place of a region.

use crate::seeded::Seeded;
use half::f16;
use puna_core::quant::{can_quantize, dequantize_row, quantize_row};
use puna_core::{DType, Device, Layout, Mat, Region, Vector, Weight};

/// A matrix, what it means, and its bytes.
#[derive(Clone, Debug)]
pub struct Matrix {
    pub dtype: DType,
    pub n_out: usize,
    pub n_in: usize,
    /// `[n_out, n_in]`: dequantised, row scales applied.
    pub values: Vec<f64>,
    view: Mat,
    region: Region,
    scale: Option<Region>,
}

/// How a matrix lies in its region.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub layout: Layout,
    /// Bytes before the first row: files promise no alignment.
    pub offset: usize,
    /// Bytes between two rows, as in a slice of a fused tensor.
    pub gap: usize,
    /// With one factor per output.
    pub scaled: bool,
}

/// From the start of the region, without gaps or scales.
pub const PLAIN: Place = Place { layout: Layout::OutIn, offset: 0, gap: 0, scaled: false };

impl Matrix {
    /// Random weights of about unit size; `n_in` (or `n_out` for [`Layout::InOut`]) must be whole blocks.
    pub fn random(rng: &mut Seeded, dtype: DType, n_out: usize, n_in: usize, place: Place) -> Matrix {
        let (rows, width) = match place.layout {
            Layout::OutIn => (n_out, n_in),
            Layout::InOut => (n_in, n_out),
        };
        let row_bytes = dtype.row_bytes(width).unwrap();
        let stride = row_bytes + place.gap;
        let mut bytes = vec![0xa5; place.offset];
        let mut stored = vec![0.0f32; rows * width];
        for row in stored.chunks_exact_mut(width.max(1)) {
            let packed = random_row(rng, dtype, width);
            dequantize_row(dtype, &packed, row).unwrap();
            bytes.extend_from_slice(&packed);
            bytes.resize(bytes.len() + place.gap, 0xff);
        }
        let scales: Vec<f32> = match place.scaled {
            true => (0..n_out).map(|_| 0.75 + 0.5 * rng.unit()).collect(),
            false => vec![1.0; n_out],
        };
        let value = |o: usize, i: usize| match place.layout {
            Layout::OutIn => stored[o * width + i],
            Layout::InOut => stored[i * width + o],
        };
        let values = (0..n_out * n_in).map(|k| {
            let (o, i) = (k / n_in, k % n_in);
            f64::from(value(o, i)) * f64::from(scales[o])
        });
        let view = Mat {
            offset: place.offset,
            stride,
            layout: place.layout,
            ..Mat::plain(Weight(0), dtype, n_out, n_in)
        };
        let values = values.collect();
        let scale = place.scaled.then(|| floats(&scales));
        Matrix { dtype, n_out, n_in, values, view, region: Region::from_vec(bytes), scale }
    }

    /// A matrix of these F32 values.
    pub fn from_values(n_out: usize, n_in: usize, values: &[f32]) -> Matrix {
        assert_eq!(values.len(), n_out * n_in);
        let view = Mat::plain(Weight(0), DType::F32, n_out, n_in);
        let region = floats(values);
        let values = values.iter().copied().map(f64::from).collect();
        Matrix { dtype: DType::F32, n_out, n_in, values, view, region, scale: None }
    }

    /// Loads the matrix into a device.
    pub fn load(&self, device: &mut dyn Device) -> Mat {
        let weight = device.load(&self.region).unwrap();
        let scale = self.scale.as_ref().map(|scale| vector(device, scale, self.n_out));
        Mat { weight, scale, ..self.view }
    }
}

/// A region of F32 values.
pub fn floats(values: &[f32]) -> Region {
    Region::from_vec(values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

/// Loads a vector of weights.
pub fn vector(device: &mut dyn Device, region: &Region, len: usize) -> Vector {
    Vector { weight: device.load(region).unwrap(), offset: 0, len }
}

/// One packed row. Formats without a quantiser get random blocks with a sane scale: every other byte is valid.
fn random_row(rng: &mut Seeded, dtype: DType, width: usize) -> Vec<u8> {
    let mut bytes = vec![0; dtype.row_bytes(width).unwrap()];
    if can_quantize(dtype) {
        quantize_row(dtype, &rng.values(width, 1.0), None, &mut bytes).unwrap();
        return bytes;
    }
    for block in bytes.chunks_exact_mut(dtype.block_bytes()) {
        block.iter_mut().for_each(|b| *b = rng.bits() as u8);
        let d = f16::from_f32(0.01 + 0.005 * rng.unit()).to_bits();
        if dtype == DType::IQ1_M {
            // The scale's nibbles are the top ones of four 16-bit words.
            for (i, word) in block[48..56].chunks_exact_mut(2).enumerate() {
                word[1] = (word[1] & 0x0f) | (((d >> (4 * i)) & 0xf) as u8) << 4;
            }
        } else {
            block[..2].copy_from_slice(&d.to_le_bytes());
        }
    }
    bytes
}
