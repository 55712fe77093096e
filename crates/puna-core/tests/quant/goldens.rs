//! Goldens of the reference implementations, made by `tests/goldens/quant.py`.

use puna_core::DType;

use crate::{dequantize, hash, quantize, relative_error, uniform};

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/goldens/quant/", $name))
    };
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

#[test]
fn random_blocks_read_bit_for_bit() {
    let goldens: [(DType, &[u8]); 25] = [
        (DType::F16, golden!("F16.bin")),
        (DType::BF16, golden!("BF16.bin")),
        (DType::F8E4M3, golden!("F8_E4M3.bin")),
        (DType::Q4_0, golden!("Q4_0.bin")),
        (DType::Q4_1, golden!("Q4_1.bin")),
        (DType::Q5_0, golden!("Q5_0.bin")),
        (DType::Q5_1, golden!("Q5_1.bin")),
        (DType::Q8_0, golden!("Q8_0.bin")),
        (DType::Q2_K, golden!("Q2_K.bin")),
        (DType::Q3_K, golden!("Q3_K.bin")),
        (DType::Q4_K, golden!("Q4_K.bin")),
        (DType::Q5_K, golden!("Q5_K.bin")),
        (DType::Q6_K, golden!("Q6_K.bin")),
        (DType::IQ4_NL, golden!("IQ4_NL.bin")),
        (DType::IQ4_XS, golden!("IQ4_XS.bin")),
        (DType::MXFP4, golden!("MXFP4.bin")),
        (DType::IQ1_S, golden!("IQ1_S.bin")),
        (DType::IQ1_M, golden!("IQ1_M.bin")),
        (DType::IQ2_XXS, golden!("IQ2_XXS.bin")),
        (DType::IQ2_XS, golden!("IQ2_XS.bin")),
        (DType::IQ2_S, golden!("IQ2_S.bin")),
        (DType::IQ3_XXS, golden!("IQ3_XXS.bin")),
        (DType::IQ3_S, golden!("IQ3_S.bin")),
        (DType::TQ1_0, golden!("TQ1_0.bin")),
        (DType::TQ2_0, golden!("TQ2_0.bin")),
    ];
    for dtype in DType::ALL {
        assert!(dtype == DType::F32 || goldens.iter().any(|g| g.0 == dtype), "{dtype} has no golden");
    }
    for (dtype, golden) in goldens {
        let blocks = golden.len() / (dtype.block_bytes() + 4 * dtype.block_len());
        let (bytes, expected) = golden.split_at(blocks * dtype.block_bytes());
        let (found, expected) = (dequantize(dtype, bytes), floats(expected));
        assert!(blocks >= 8 && found.len() == expected.len());
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
            assert!(same, "{dtype} value {i}: expected {expected:e}, found {found:e}");
        }
    }
}

#[test]
fn exact_quantisers_write_byte_for_byte() {
    let row = floats(golden!("ROW.bin"));
    let goldens: [(DType, &[u8]); 10] = [
        (DType::F16, golden!("F16.row.bin")),
        (DType::BF16, golden!("BF16.row.bin")),
        (DType::Q4_0, golden!("Q4_0.row.bin")),
        (DType::Q4_1, golden!("Q4_1.row.bin")),
        (DType::Q5_0, golden!("Q5_0.row.bin")),
        (DType::Q5_1, golden!("Q5_1.row.bin")),
        (DType::Q8_0, golden!("Q8_0.row.bin")),
        (DType::MXFP4, golden!("MXFP4.row.bin")),
        (DType::TQ1_0, golden!("TQ1_0.row.bin")),
        (DType::TQ2_0, golden!("TQ2_0.row.bin")),
    ];
    for (dtype, expected) in goldens {
        let found = quantize(dtype, &row, None);
        let at = found.iter().zip(expected).position(|(a, b)| a != b);
        assert!(found.len() == expected.len() && at.is_none(), "{dtype} differs at byte {at:?}");
    }
}

#[test]
fn f8_e4m3_rounds_to_even_and_saturates() {
    let golden = golden!("F8_E4M3.row.bin");
    let (values, codes) = golden.split_at(golden.len() / 5 * 4);
    assert_eq!(quantize(DType::F8E4M3, &floats(values), None), codes);
    // Every code is its own nearest; beyond the largest value the format saturates instead of overflowing to NaN.
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(quantize(DType::F8E4M3, &dequantize(DType::F8E4M3, &all), None), all);
    let beyond = [449.0, 1e30, f32::INFINITY, -465.0, f32::NEG_INFINITY, 1e-30, -1e-30];
    assert_eq!(quantize(DType::F8E4M3, &beyond, None), [0x7E, 0x7E, 0x7E, 0xFE, 0xFE, 0x00, 0x80]);
}

/// The golden block of a format: hashed bytes under fixed scales.
fn hashed_block(dtype: DType) -> Vec<u8> {
    let id = dtype.gguf_id().unwrap();
    let mut block: Vec<u8> = (0..dtype.block_bytes() as u32).map(|k| hash(1000 * id + k) as u8).collect();
    const QUARTER: u16 = 0x3400;
    const EIGHTH: u16 = 0x3000;
    const MINUS_HALF: u16 = 0xB800;
    let scales: &[(usize, u16)] = match dtype {
        DType::Q4_1 | DType::Q5_1 => &[(0, QUARTER), (2, MINUS_HALF)],
        DType::Q4_K | DType::Q5_K => &[(0, QUARTER), (2, EIGHTH)],
        DType::Q2_K => &[(80, QUARTER), (82, EIGHTH)],
        DType::Q3_K => &[(108, QUARTER)],
        DType::Q6_K => &[(208, QUARTER)],
        DType::TQ1_0 => &[(52, QUARTER)],
        DType::TQ2_0 => &[(64, QUARTER)],
        DType::MXFP4 | DType::IQ1_M => &[],
        _ => &[(0, QUARTER)],
    };
    for (at, scale) in scales {
        block[*at..at + 2].copy_from_slice(&scale.to_le_bytes());
    }
    if dtype == DType::MXFP4 {
        block[0] = 126;
    }
    if dtype == DType::IQ1_M {
        for i in 0..4 {
            block[49 + 2 * i] = block[49 + 2 * i] & 15 | ((QUARTER >> (4 * i)) as u8 & 15) << 4;
        }
    }
    block
}

#[test]
fn hashed_blocks_have_their_sums_and_first_values() {
    // Format, sum, sum of absolute values, first values.
    let goldens: [(DType, f64, f64, &[f32]); 22] = [
        (DType::Q4_0, 2.0, 36.0, &[0.75, -0.75, 1.0, 1.75, 1.75, -2.0, 1.25, -1.75]),
        (DType::Q4_1, 45.25, 48.75, &[1.0, -0.25, 1.25, 1.25, -0.25, 2.5, 0.75, 2.25]),
        (DType::Q5_0, 5.5, 61.0, &[-3.0, 2.25, -3.75, 0.0, -2.75, -2.25, 1.75, 3.75]),
        (DType::Q5_1, 144.0, 144.0, &[2.0, 6.5, 7.25, 7.0, 5.75, 0.0, 7.0, 3.75]),
        (DType::Q8_0, 24.25, 546.25, &[19.0, 28.5, 11.0, -25.0, 3.75, -3.0, 12.5, 8.5]),
        (DType::Q2_K, 604.75, 776.25, &[4.875, 8.125, 4.875, 4.875, 8.125, 8.125, 8.125, 1.625]),
        (DType::Q3_K, 359.25, 2094.75, &[-0.75, 1.5, -0.75, 1.5, -2.25, -2.25, 1.5, 1.5]),
        (DType::Q4_K, 7974.5, 8243.0, &[-0.875, 30.625, 51.625, 4.375, 14.875, 20.125, 25.375, 56.875]),
        (DType::Q5_K, 34571.0, 34673.0, &[76.875, 45.375, 87.375, 92.625, 29.625, 103.125, 82.125, 29.625]),
        (DType::Q6_K, 5059.0, 75686.5, &[-260.0, 292.5, -32.5, 81.25, 373.75, 487.5, 130.0, 162.5]),
        (DType::IQ4_NL, -53.0, 465.5, &[-2.5, -5.5, 22.25, -2.5, 9.5, -26.0, 28.25, -2.5]),
        (DType::IQ4_XS, 5839.25, 67832.75, &[7.0, -245.0, -455.0, -70.0, 91.0, -154.0, -889.0, 175.0]),
        (DType::MXFP4, -12.25, 33.75, &[-3.0, 1.0, 0.25, -1.5, -3.0, -0.25, -2.0, 1.0]),
        (DType::TQ1_0, -0.25, 41.25, &[0.0, 0.0, 0.25, 0.25, 0.0, 0.25, -0.25, 0.25]),
        (DType::TQ2_0, 22.75, 59.25, &[0.5, 0.0, -0.25, 0.5, -0.25, 0.0, -0.25, 0.25]),
        (DType::IQ2_XXS, -11.5625, 1459.5625, &[]),
        (DType::IQ2_XS, 48.46875, 2252.21875, &[]),
        (DType::IQ2_S, -34.09375, 2330.96875, &[]),
        (DType::IQ3_XXS, -333.75, 9618.25, &[]),
        (DType::IQ3_S, -1030.5, 8527.5, &[]),
        (DType::IQ1_S, -7.0, 390.375, &[]),
        (DType::IQ1_M, -3.75, 423.625, &[]),
    ];
    for (dtype, sum, sum_abs, first) in goldens {
        let values = dequantize(dtype, &hashed_block(dtype));
        assert_eq!(values.iter().map(|v| f64::from(*v)).sum::<f64>(), sum, "{dtype}");
        assert_eq!(values.iter().map(|v| f64::from(v.abs())).sum::<f64>(), sum_abs, "{dtype}");
        assert_eq!(&values[..first.len()], first, "{dtype}");
    }
}

#[test]
fn hashed_row_quantises_to_its_bytes() {
    let row = uniform(7000, 256);
    let goldens: [(DType, u32, &[u8]); 9] = [
        (DType::Q4_0, 18224, &[105, 175, 164, 148, 45, 15, 93, 10]),
        (DType::Q4_1, 21940, &[159, 47, 225, 186, 91, 123, 211, 240]),
        (DType::Q5_0, 21712, &[105, 171, 60, 14, 195, 36, 72, 23]),
        (DType::Q5_1, 24674, &[96, 43, 225, 186, 195, 241, 60, 219]),
        (DType::Q8_0, 32897, &[120, 31, 67, 70, 180, 138, 177, 231]),
        (DType::TQ1_0, 7496, &[100, 196, 25, 34]),
        (DType::TQ2_0, 5291, &[81, 162, 96, 68]),
        (DType::BF16, 58087, &[252, 62, 2, 63]),
        (DType::MXFP4, 20138, &[124, 198, 150, 126, 127, 94, 123, 214]),
    ];
    for (dtype, sum, first) in goldens {
        let bytes = quantize(dtype, &row, None);
        assert_eq!(bytes.iter().map(|b| u32::from(*b)).sum::<u32>(), sum, "{dtype}");
        assert_eq!(&bytes[..first.len()], first, "{dtype}");
    }
}

#[test]
fn searches_leave_the_error_that_llama_cpp_leaves() {
    let fits = floats(golden!("FITS.bin"));
    let rows: Vec<&[f32]> = fits.chunks_exact(fits.len() / 3).collect();
    let mut worse = Vec::new();
    let mut lines = 0;
    for line in core::str::from_utf8(golden!("FITS.txt")).unwrap().lines() {
        let [name, row, how, reference] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let dtype = DType::from_name(name).unwrap();
        let x = if row == "gaussian" { rows[0] } else { rows[1] };
        let importance = (how == "weighted").then_some(rows[2]);
        let error = relative_error(x, &dequantize(dtype, &quantize(dtype, x, importance)), importance);
        let reference: f64 = reference.parse().unwrap();
        if error > 1.005 * reference {
            worse.push(format!("{line}, found {error:.6}"));
        }
        lines += 1;
    }
    assert!(worse.is_empty(), "{worse:#?}");
    assert_eq!(lines, 44);
}
