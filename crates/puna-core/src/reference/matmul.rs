//! [`MatMul`](crate::ops::MatMul), scalar.

use crate::quant::{QuantError, dequantize_row};
use crate::{Layout, Mat};
use alloc::vec;
use alloc::vec::Vec;

/// A matrix with its bytes.
#[derive(Clone, Copy, Debug)]
pub struct MatData<'a> {
    /// Format and dimensions.
    pub mat: &'a Mat,
    /// The bytes of the region that `mat.offset` counts in.
    pub bytes: &'a [u8],
    /// `n_out` factors.
    pub scale: Option<&'a [f32]>,
}

impl MatData<'_> {
    /// Row `r` in memory order, dequantised, without the scale.
    pub fn row(&self, r: usize, out: &mut [f32]) -> Result<(), QuantError> {
        let start = self.mat.offset + r * self.mat.stride;
        let len = self.mat.row_bytes().unwrap_or(0);
        dequantize_row(self.mat.dtype, self.bytes.get(start..start + len).unwrap_or(&[]), out)
    }
}

/// `out[r][o] = sum_i x[r][i] * w[o][i] * scale[o] + bias[o]`, for rows of `n_in` and `n_out` values.
pub fn matmul(
    x: &[f32],
    w: &MatData<'_>,
    bias: Option<&[f32]>,
    out: &mut [f32],
    add: bool,
) -> Result<(), QuantError> {
    let (n_in, n_out) = (w.mat.n_in, w.mat.n_out);
    let n = x.len().checked_div(n_in).unwrap_or(0);
    let sums = products(x, w, n)?;
    for (r, out) in out.chunks_exact_mut(n_out.max(1)).enumerate() {
        for (o, out) in out.iter_mut().enumerate() {
            let scale = w.scale.map_or(1.0, |s| f64::from(s[o]));
            let value = sums[r * n_out + o] * scale + bias.map_or(0.0, |b| f64::from(b[o]));
            *out = if add { (f64::from(*out) + value) as f32 } else { value as f32 };
        }
    }
    Ok(())
}

/// `[n, n_out]` sums in F64, in the order of the matrix in memory.
fn products(x: &[f32], w: &MatData<'_>, n: usize) -> Result<Vec<f64>, QuantError> {
    let (n_in, n_out) = (w.mat.n_in, w.mat.n_out);
    let (rows, width) = w.mat.stored();
    let mut sums = vec![0.0f64; n * n_out];
    let mut row = vec![0.0f32; width];
    for stored in 0..rows {
        w.row(stored, &mut row)?;
        for r in 0..n {
            let x = &x[r * n_in..(r + 1) * n_in];
            let sums = &mut sums[r * n_out..(r + 1) * n_out];
            match w.mat.layout {
                Layout::OutIn => {
                    sums[stored] = x.iter().zip(&row).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                }
                Layout::InOut => {
                    for (sum, &b) in sums.iter_mut().zip(&row) {
                        *sum += f64::from(x[stored]) * f64::from(b);
                    }
                }
            }
        }
    }
    Ok(sums)
}
