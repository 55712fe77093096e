//! Whole rows of every kind, sound and unsound: round trips, edge values, refused lengths.

use puna_core::DType;
use puna_core::quant::{QuantError, Quantizer, can_quantize, dequantize_row, quantize_row};

use crate::{dequantize, hash, quantize, relative_error, uniform};

/// Largest relative error on Gaussian values that a format may leave, from its bits a value.
fn bound(dtype: DType) -> f64 {
    match dtype {
        DType::F32 => 0.0,
        DType::F16 => 3e-4,
        DType::BF16 => 2e-3,
        DType::F8E4M3 => 0.03,
        DType::Q8_0 => 0.007,
        DType::Q6_K => 0.02,
        DType::Q5_0 | DType::Q5_1 | DType::Q5_K => 0.05,
        DType::Q4_0 | DType::Q4_1 | DType::Q4_K | DType::IQ4_NL | DType::IQ4_XS => 0.1,
        DType::MXFP4 => 0.15,
        DType::Q3_K | DType::IQ3_S => 0.2,
        DType::IQ3_XXS => 0.25,
        DType::Q2_K | DType::IQ2_S | DType::IQ2_XS => 0.35,
        DType::IQ2_XXS => 0.4,
        DType::IQ1_M => 0.55,
        DType::IQ1_S => 0.65,
        // The scale is the peak, so most values of a Gaussian row round to 0.
        _ => 1.1,
    }
}

#[test]
fn round_trips_stay_within_the_format() {
    let x: Vec<f32> = uniform(1, 1024).iter().zip(uniform(9000, 1024)).map(|(a, b)| a + b).collect();
    for dtype in DType::ALL {
        let ones = vec![1.0; x.len()];
        for importance in [None, Some(ones.as_slice())] {
            let bytes = quantize(dtype, &x, importance);
            let error = relative_error(&x, &dequantize(dtype, &bytes), None);
            assert!(error <= bound(dtype), "{dtype}: {error}");
        }
    }
    // Ternary rows survive the ternary formats exactly.
    let ternary: Vec<f32> = (0..512).map(|k| [-0.5, 0.0, 0.5][hash(k) as usize % 3]).collect();
    for dtype in [DType::TQ1_0, DType::TQ2_0] {
        assert_eq!(dequantize(dtype, &quantize(dtype, &ternary, None)), ternary);
    }
}

#[test]
fn zeros_and_constants_survive() {
    for dtype in DType::ALL {
        for importance in [None, Some([1.0; 512].as_slice()), Some([0.0; 512].as_slice())] {
            let zeros = dequantize(dtype, &quantize(dtype, &[0.0; 512], importance));
            assert!(zeros.iter().all(|v| *v == 0.0), "{dtype}");
            for constant in [0.75, -0.75, 400.0, -0.02] {
                let found = dequantize(dtype, &quantize(dtype, &[constant; 512], importance));
                // One step of the coarsest float, what a codebook's scale is corrected by for the sake of other rows (the
                // smallest codebooks have no entry of eight large values), or one step of the 6-bit scales.
                use DType::*;
                let bound = match dtype {
                    MXFP4 => 0.25,
                    IQ2_XXS => 0.75,
                    IQ3_XXS | IQ3_S => 0.5,
                    IQ1_S | IQ1_M | IQ2_XS | IQ2_S => 0.15,
                    _ => 0.04,
                } * constant.abs();
                let worst = found.iter().map(|v| (v - constant).abs()).fold(0.0, f32::max);
                assert!(worst <= bound, "{dtype} {constant}: off by {worst}");
            }
        }
    }
}

#[test]
fn magnitudes_from_tiny_to_huge_keep_their_scale() {
    let x = uniform(42, 256);
    for dtype in DType::ALL {
        // F8_E4M3 has no scale of its own: its subnormals begin at 2⁻⁶ and its values end at 448.
        let scales: &[f32] = if dtype == DType::F8E4M3 { &[1.0, 100.0] } else { &[1e-2, 1.0, 100.0] };
        for scale in scales {
            let x: Vec<f32> = x.iter().map(|v| v * scale).collect();
            let error = relative_error(&x, &dequantize(dtype, &quantize(dtype, &x, None)), None);
            assert!(error <= 1.5 * bound(dtype), "{dtype} at {scale}: {error}");
        }
        // Below what an f16 scale can hold: zeros or nearly so, never NaN.
        for scale in [1e-12f32, 1e-30, 1e-40] {
            let x: Vec<f32> = x.iter().map(|v| v * scale).collect();
            for importance in [None, Some([1.0; 256].as_slice())] {
                let found = dequantize(dtype, &quantize(dtype, &x, importance));
                assert!(found.iter().all(|v| v.abs() <= 1e-11), "{dtype} at {scale}");
            }
        }
    }
}

#[test]
fn values_that_are_not_finite_spoil_only_their_block() {
    let clean = uniform(5, 1024);
    let ones = [1.0; 1024];
    for dtype in DType::ALL {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN] {
            let mut row = clean.clone();
            row[300] = bad;
            let (expected, found) = (quantize(dtype, &clean, None), quantize(dtype, &row, None));
            let block = 300 / dtype.block_len() * dtype.block_bytes();
            assert_eq!(found[..block], expected[..block], "{dtype} {bad}");
            let next = block + dtype.block_bytes();
            assert_eq!(found[next..], expected[next..], "{dtype} {bad}");
            // Importance of every kind is survived too.
            for weight in [1.0, 0.0, -1.0, f32::NAN, f32::INFINITY] {
                let mut importance = ones;
                importance[301] = weight;
                quantize(dtype, &row, Some(&importance));
                quantize(dtype, &clean, Some(&importance));
            }
            quantize(dtype, &[bad; 1024], Some(&[bad; 1024]));
        }
    }
}

/// Where columns differ in importance, weighing errors by it leaves less of the error that matters, in every format that
/// can; the others give the same bytes.
#[test]
fn importance_lowers_the_error_that_it_weighs() {
    let x: Vec<f32> = uniform(5, 2048).iter().zip(uniform(7000, 2048)).map(|(a, b)| a + b).collect();
    let importance: Vec<f32> = uniform(90_000, 2048).iter().map(|v| (4.0 * v).exp()).collect();
    for dtype in DType::ALL {
        let (plain, weighted) = (quantize(dtype, &x, None), quantize(dtype, &x, Some(&importance)));
        let error = |bytes: &[u8]| relative_error(&x, &dequantize(dtype, bytes), Some(&importance));
        let (before, after) = (error(&plain), error(&weighted));
        use DType::*;
        match dtype {
            Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q2_K | Q3_K | Q4_K | Q5_K | Q6_K | IQ1_S | IQ1_M | IQ2_XXS
            | IQ2_XS | IQ2_S | IQ3_XXS | IQ3_S | IQ4_NL | IQ4_XS => {
                assert!(after < 0.98 * before, "{dtype}: {before} without, {after} with");
            }
            _ => assert_eq!(plain, weighted, "{dtype}"),
        }
    }
}

#[test]
fn every_byte_pattern_can_be_read() {
    for dtype in DType::ALL {
        for seed in 0..200u32 {
            let fill = (seed.wrapping_mul(97) % 256) as u8;
            let byte = |k| {
                if seed < 100 { hash(seed << 16 | k) as u8 } else { fill }
            };
            let bytes: Vec<u8> = (0..2 * dtype.block_bytes() as u32).map(byte).collect();
            assert_eq!(dequantize(dtype, &bytes).len(), 2 * dtype.block_len());
        }
    }
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    for dtype in DType::ALL {
        let (len, bytes) = (dtype.block_len(), dtype.block_bytes());
        let data = vec![0; 2 * bytes + 1];
        assert_eq!(dequantize_row(dtype, &[], &mut []), Ok(()));
        for found in [2 * bytes - 1, 2 * bytes + 1, 0] {
            assert_eq!(
                dequantize_row(dtype, &data[..found], &mut vec![0.0; 2 * len]),
                Err(QuantError::ByteLength { dtype, expected: 2 * bytes, found })
            );
        }
        if len > 1 {
            assert_eq!(
                dequantize_row(dtype, &data[..bytes], &mut vec![0.0; len - 1]),
                Err(QuantError::PartialBlock { dtype, values: len - 1 })
            );
        }
        let mut out = vec![0; bytes];
        let quantizer = Quantizer::new(dtype);
        let written = quantizer.row(&vec![0.0; 2 * len], None, &mut out);
        assert_eq!(written, Err(QuantError::ByteLength { dtype, expected: 2 * bytes, found: bytes }));
        let written = quantizer.row(&vec![0.0; len], Some(&vec![1.0; len + 1]), &mut out);
        assert_eq!(written, Err(QuantError::ImportanceLength { expected: len, found: len + 1 }));
        // Without tables, a format with a codebook is refused.
        let written = quantize_row(dtype, &vec![0.0; len], None, &mut out);
        let refused = Err(QuantError::NoQuantizer { dtype });
        assert_eq!(written, if can_quantize(dtype) { Ok(()) } else { refused });
    }
    let error = QuantError::ByteLength { dtype: DType::Q4_K, expected: 144, found: 100 };
    assert_eq!(error.to_string(), "the Q4_K row takes 144 bytes, found 100");
}
