//! Files of random content: what is written is what is read, and damage is never more than an error.

use proptest::prelude::*;
use puna_core::DType;
use puna_core::quant::{can_quantize, dequantize_row, quantize_row};
use puna_format::Limits;
use puna_format::gguf::{Array, Gguf, GgufWriter, Strings, Value};
use puna_format::safetensors::{SafeTensors, StDType, StWriter};

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        (-1e30f32..1e30).prop_map(Value::F32),
        (-1e300f64..1e300).prop_map(Value::F64),
        any::<bool>().prop_map(Value::Bool),
        ".{0,20}".prop_map(Value::String),
        prop::collection::vec(any::<u32>(), 0..6).prop_map(|v| Value::Array(Array::U32(v))),
        prop::collection::vec(any::<bool>(), 0..6).prop_map(|v| Value::Array(Array::Bool(v))),
        prop::collection::vec(".{0,8}", 0..6)
            .prop_map(|v| Value::Array(Array::String(Strings::from_strs(v).unwrap()))),
    ]
}

/// Name, format, blocks in a row, rows.
fn tensor() -> impl Strategy<Value = (DType, u64, u64)> {
    let types: Vec<DType> = DType::ALL.into_iter().filter(|t| t.gguf_id().is_some()).collect();
    (prop::sample::select(types), 1u64..4, 1u64..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn gguf_round_trip(
        keys in prop::collection::btree_map("[a-z]{1,8}(\\.[a-z_]{1,8}){0,2}", value(), 0..8),
        tensors in prop::collection::btree_map("[a-z]{1,12}\\.weight", tensor(), 0..6),
        cut in any::<prop::sample::Index>(),
        flip in any::<(prop::sample::Index, u8)>(),
    ) {
        let keys: Vec<_> = keys.into_iter().filter(|(k, _)| k != "general.alignment").collect();
        let mut writer = GgufWriter::new();
        for (key, value) in &keys {
            writer.set(key, value.clone()).unwrap();
        }
        for (name, (dtype, blocks, rows)) in &tensors {
            writer.tensor(name, &[blocks * dtype.block_len() as u64, *rows], *dtype).unwrap();
        }
        let mut stream = writer.start(Vec::new()).unwrap();
        let bytes = |dtype: &DType, blocks: u64, rows: u64| -> Vec<u8> {
            (0..blocks * rows * dtype.block_bytes() as u64).map(|i| (i * 7) as u8).collect()
        };
        for (name, (dtype, blocks, rows)) in &tensors {
            stream.write(name, &bytes(dtype, *blocks, *rows)).unwrap();
        }
        let file = stream.finish().unwrap();
        let read = Gguf::read(&file[..], &Limits::default()).unwrap();
        for (key, value) in &keys {
            prop_assert_eq!(read.metadata.get(key), Some(value));
        }
        prop_assert_eq!(read.tensors.len(), tensors.len());
        for (name, (dtype, blocks, rows)) in &tensors {
            let found = read.tensors.named(name).unwrap();
            let range = found.range.start as usize..found.range.end as usize;
            prop_assert_eq!(&file[range], &bytes(dtype, *blocks, *rows)[..]);
        }
        // Damaged: an error of one line, or a table whose tensors are inside the file.
        let mut damaged = file.clone();
        let at = flip.0.index(file.len());
        damaged[at] ^= flip.1;
        for bytes in [&file[..cut.index(file.len())], &damaged[..]] {
            match Gguf::read(bytes, &Limits::default()) {
                Ok(read) => prop_assert!(read.tensors.iter().all(|t| t.range.end <= bytes.len() as u64)),
                Err(e) => prop_assert!(!e.to_string().contains('\n')),
            }
        }
    }

    #[test]
    fn safetensors_round_trip(
        tensors in prop::collection::btree_map(
            "[a-zA-Z_.\"\\\\é]{1,16}",
            (prop::sample::select(vec![StDType::F32, StDType::BF16, StDType::U8]), prop::collection::vec(0u64..5, 0..4)),
            0..6,
        ),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut writer = StWriter::new();
        for (name, (dtype, shape)) in &tensors {
            writer.tensor(name, shape, *dtype).unwrap();
        }
        let mut stream = writer.start(Vec::new()).unwrap();
        let bytes = |dtype: StDType, shape: &[u64]| -> Vec<u8> {
            let size = match dtype {
                StDType::F32 => 4,
                StDType::BF16 => 2,
                _ => 1,
            };
            (0..shape.iter().product::<u64>() * size).map(|i| (i * 11) as u8).collect()
        };
        for (name, (dtype, shape)) in &tensors {
            stream.write(name, &bytes(*dtype, shape)).unwrap();
        }
        let file = stream.finish().unwrap();
        let read = SafeTensors::read(&file[..], &Limits::default()).unwrap();
        prop_assert_eq!(read.tensors.len(), tensors.len());
        for (name, (dtype, shape)) in &tensors {
            let found = read.tensors.named(name).unwrap();
            prop_assert_eq!(&found.shape, shape);
            let range = found.range.start as usize..found.range.end as usize;
            prop_assert_eq!(&file[range], &bytes(*dtype, shape)[..]);
        }
        if cut.index(file.len()) < file.len() {
            prop_assert!(SafeTensors::read(&file[..cut.index(file.len())], &Limits::default()).is_err());
        }
    }

    /// What a format can hold exactly, it keeps: reading and packing again changes nothing any more.
    #[test]
    fn quantised_rows_settle(
        values in prop::collection::vec(-100.0f32..100.0, 256),
        dtype in prop::sample::select(vec![DType::F32, DType::F16, DType::BF16, DType::F8E4M3, DType::Q8_0, DType::MXFP4]),
    ) {
        prop_assert!(can_quantize(dtype));
        let pack = |values: &[f32]| {
            let mut bytes = vec![0; dtype.row_bytes(values.len()).unwrap()];
            quantize_row(dtype, values, None, &mut bytes).unwrap();
            let mut back = vec![0.0; values.len()];
            dequantize_row(dtype, &bytes, &mut back).unwrap();
            back
        };
        let once = pack(&values);
        let twice = pack(&once);
        let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (a, b) in once.iter().zip(&twice) {
            prop_assert!((a - b).abs() <= largest * 1e-3, "{} {} {}", dtype, a, b);
        }
    }

    /// Any bytes are a row: no value of any format stops the reader.
    #[test]
    fn any_bytes_dequantise(
        bytes in prop::collection::vec(any::<u8>(), 256),
        dtype in prop::sample::select(DType::ALL.to_vec()),
    ) {
        let blocks = bytes.len() / dtype.block_bytes();
        let mut out = vec![0.0; blocks * dtype.block_len()];
        prop_assert!(dequantize_row(dtype, &bytes[..blocks * dtype.block_bytes()], &mut out).is_ok());
    }
}
