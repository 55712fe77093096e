//! Quantised block formats: exact dequantisation and reference quantisation of every [`DType`].
//!
//! One module per format. Each states its byte layout as named offsets (`D`, `QS`, …), which the CPU kernels and the
//! shaders follow, and has `dequantize_block` and `quantize_block`.
//! [`dequantize_row`] and [`quantize_row`] choose among them. Numbers are little-endian. Results are a pure function of
//! the bytes: no result depends on the platform, its maths library or the features of this crate (only the sign and
//! payload of a NaN are left open, as Rust leaves them).
//!
//! Source of the layouts: the GGUF files of the ggml project.
//!
//! ```
//! use puna_core::DType;
//! use puna_core::quant::{dequantize_row, quantize_row};
//!
//! let row: Vec<f32> = (-16..16).map(|v| v as f32).collect();
//! let mut bytes = [0; 18];
//! quantize_row(DType::Q4_0, &row, None, &mut bytes)?;
//! let mut back = [0.0; 32];
//! dequantize_row(DType::Q4_0, &bytes, &mut back)?;
//! assert!(row.iter().zip(back).all(|(a, b)| (a - b).abs() <= 1.0));
//! # Ok::<(), puna_core::quant::QuantError>(())
//! ```

pub mod codebook;
pub mod f8_e4m3;
mod fit;
mod grid;
mod grid_fit;
mod grids;
pub mod iq1_m;
pub mod iq1_s;
pub mod iq2_s;
pub mod iq2_xs;
pub mod iq2_xxs;
pub mod iq3_s;
pub mod iq3_xxs;
pub mod iq4_nl;
pub mod iq4_xs;
mod layout;
pub mod mxfp4;
pub mod plain;
pub mod q2_k;
pub mod q3_k;
pub mod q4_0;
pub mod q4_1;
pub mod q4_k;
pub mod q5_0;
pub mod q5_1;
pub mod q5_k;
pub mod q6_k;
pub mod q8_0;
mod quantizer;
mod super_block;
mod ternary_fit;
pub mod tq1_0;
pub mod tq2_0;

pub use quantizer::{Quantizer, quantize_row};

use crate::DType;

/// Why a row could not be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuantError {
    /// The row is not a whole number of blocks.
    PartialBlock {
        /// Format of the row.
        dtype: DType,
        /// Values in the row.
        values: usize,
    },
    /// The byte slice does not have the size of the row.
    ByteLength {
        /// Format of the row.
        dtype: DType,
        /// Bytes that the row takes.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// Importance must have one weight per value.
    ImportanceLength {
        /// Values in the row.
        expected: usize,
        /// Weights given.
        found: usize,
    },
    /// The format has a codebook, whose search needs the tables of a [`Quantizer`].
    NoQuantizer {
        /// The format asked for.
        dtype: DType,
    },
}

impl core::fmt::Display for QuantError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::PartialBlock { dtype, values } => {
                write!(f, "a {dtype} row needs a multiple of {} values, found {values}", dtype.block_len())
            }
            Self::ByteLength { dtype, expected, found } => {
                write!(f, "the {dtype} row takes {expected} bytes, found {found}")
            }
            Self::ImportanceLength { expected, found } => {
                write!(f, "importance needs {expected} weights, one per value, found {found}")
            }
            Self::NoQuantizer { dtype } => {
                write!(f, "{dtype} has a codebook: a row of it is packed by a quantizer that is kept")
            }
        }
    }
}

impl core::error::Error for QuantError {}

/// Whether [`quantize_row`] can write this format: all but those with codebooks, which [`Quantizer`] writes.
pub const fn can_quantize(dtype: DType) -> bool {
    use DType::*;
    !matches!(dtype, IQ1_S | IQ1_M | IQ2_XXS | IQ2_XS | IQ2_S | IQ3_XXS | IQ3_S)
}

/// Expands a row to f32.
///
/// `bytes` must be exactly the row of `out.len()` values, which must be whole blocks. All bytes are valid: a scale
/// that is infinite or NaN gives infinite or NaN values.
///
/// # Errors
/// [`QuantError::PartialBlock`] and [`QuantError::ByteLength`].
pub fn dequantize_row(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    check_lengths(dtype, out.len(), bytes.len())?;
    match dtype {
        DType::F32 => expand(bytes, out, plain::f32_decode),
        DType::F16 => expand(bytes, out, plain::f16_decode),
        DType::BF16 => expand(bytes, out, plain::bf16_decode),
        DType::F8E4M3 => expand(bytes, out, f8_e4m3::dequantize_block),
        DType::Q4_0 => expand(bytes, out, q4_0::dequantize_block),
        DType::Q4_1 => expand(bytes, out, q4_1::dequantize_block),
        DType::Q5_0 => expand(bytes, out, q5_0::dequantize_block),
        DType::Q5_1 => expand(bytes, out, q5_1::dequantize_block),
        DType::Q8_0 => expand(bytes, out, q8_0::dequantize_block),
        DType::Q2_K => expand(bytes, out, q2_k::dequantize_block),
        DType::Q3_K => expand(bytes, out, q3_k::dequantize_block),
        DType::Q4_K => expand(bytes, out, q4_k::dequantize_block),
        DType::Q5_K => expand(bytes, out, q5_k::dequantize_block),
        DType::Q6_K => expand(bytes, out, q6_k::dequantize_block),
        DType::IQ4_NL => expand(bytes, out, iq4_nl::dequantize_block),
        DType::IQ4_XS => expand(bytes, out, iq4_xs::dequantize_block),
        DType::MXFP4 => expand(bytes, out, mxfp4::dequantize_block),
        DType::IQ1_S => expand(bytes, out, iq1_s::dequantize_block),
        DType::IQ1_M => expand(bytes, out, iq1_m::dequantize_block),
        DType::IQ2_XXS => expand(bytes, out, iq2_xxs::dequantize_block),
        DType::IQ2_XS => expand(bytes, out, iq2_xs::dequantize_block),
        DType::IQ2_S => expand(bytes, out, iq2_s::dequantize_block),
        DType::IQ3_XXS => expand(bytes, out, iq3_xxs::dequantize_block),
        DType::IQ3_S => expand(bytes, out, iq3_s::dequantize_block),
        DType::TQ1_0 => expand(bytes, out, tq1_0::dequantize_block),
        DType::TQ2_0 => expand(bytes, out, tq2_0::dequantize_block),
    }
    Ok(())
}

fn check_lengths(dtype: DType, values: usize, bytes: usize) -> Result<(), QuantError> {
    let Some(expected) = dtype.row_bytes(values) else {
        return Err(QuantError::PartialBlock { dtype, values });
    };
    if bytes != expected {
        return Err(QuantError::ByteLength { dtype, expected, found: bytes });
    }
    Ok(())
}

fn expand<const B: usize, const L: usize>(bytes: &[u8], out: &mut [f32], block: fn(&[u8; B], &mut [f32; L])) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        block(bytes, out);
    }
}
