//! Round trips and edge cases of safetensors reading, joining and writing.

use super::*;
use crate::{DType, ErrorKind, Limits};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

fn read(file: &[u8]) -> SafeTensors {
    SafeTensors::read(file, &Limits::default()).unwrap()
}

fn file_of(tensors: &[(&str, &[u64], StDType)]) -> Vec<u8> {
    let mut writer = StWriter::new();
    for (name, shape, dtype) in tensors {
        writer.tensor(name, shape, *dtype).unwrap();
    }
    writer.metadata("format", "p\"t\n");
    let mut stream = writer.start(Vec::new()).unwrap();
    for (i, (name, shape, dtype)) in tensors.iter().enumerate() {
        stream.write(name, &vec![i as u8; dtype.n_bytes(shape).unwrap() as usize]).unwrap();
    }
    stream.finish().unwrap()
}

const SOME: &[(&str, &[u64], StDType)] = &[
    ("model.embed.weight", &[4, 8], StDType::BF16),
    ("nothing", &[0, 5], StDType::F32),
    ("scalar", &[], StDType::F32),
    ("q\"uo\\te", &[3, 1, 2], StDType::F8_E4M3),
    ("packed", &[4], StDType::F6_E2M3),
];

#[test]
fn what_is_written_is_read() {
    let file = file_of(SOME);
    let st = read(&file);
    assert!(st.data_offset.is_multiple_of(8));
    assert_eq!(st.metadata, [(String::from("format"), String::from("p\"t\n"))]);
    for (i, (name, shape, dtype)) in SOME.iter().enumerate() {
        let tensor = st.tensors.need(name).unwrap();
        assert_eq!((&tensor.shape[..], tensor.dtype), (*shape, *dtype));
        let data = &file[tensor.range.start as usize..tensor.range.end as usize];
        assert_eq!(data.len() as u64, dtype.n_bytes(shape).unwrap());
        assert!(data.iter().all(|&b| b == i as u8));
    }
    let set = ShardSet::single(st).unwrap();
    assert_eq!((set.n_files, set.tensors.len()), (1, SOME.len()));
}

#[test]
fn types_that_are_weights() {
    let weights: Vec<_> = StDType::ALL.into_iter().filter_map(StDType::as_dtype).collect();
    assert_eq!(weights, [DType::F8E4M3, DType::F16, DType::BF16, DType::F32]);
    for t in StDType::ALL {
        assert_eq!(StDType::from_name(t.name()), Some(t));
        if let Some(dtype) = t.as_dtype() {
            assert_eq!(t.bits(), dtype.block_bytes() as u64 * 8);
        }
    }
}

#[test]
fn the_header_may_list_tensors_in_any_order_and_end_in_spaces() {
    let json = r#"{"b":{"data_offsets":[4,8],"dtype":"F32","shape":[]},
                   "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}   "#;
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(json.as_bytes());
    file.extend_from_slice(&[0; 8]);
    let names: Vec<_> = read(&file).tensors.iter().map(|t| t.name.clone()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn the_writer_checks_what_it_is_given() {
    let mut w = StWriter::new();
    assert_eq!(w.tensor("__metadata__", &[1], StDType::U8).unwrap_err().kind(), ErrorKind::BadValue);
    assert_eq!(w.tensor("a", &[u64::MAX, 2], StDType::U8).unwrap_err().kind(), ErrorKind::Overflow);
    assert_eq!(w.tensor("a", &[3], StDType::F4).unwrap_err().kind(), ErrorKind::Overflow);
    w.tensor("a", &[4], StDType::U8).unwrap().tensor("b", &[1], StDType::U8).unwrap();
    let mut stream = w.start(Vec::new()).unwrap();
    assert_eq!(stream.write("b", &[0]).unwrap_err().kind(), ErrorKind::Mismatch);
    stream.write("a", &[0; 3]).unwrap();
    assert_eq!(stream.write("a", &[0; 2]).unwrap_err().kind(), ErrorKind::Mismatch);
    stream.write("a", &[0; 1]).unwrap();
    assert_eq!(stream.finish().unwrap_err().kind(), ErrorKind::Mismatch);
}

const INDEX: &str = r#"{"metadata":{"total_size":9},"weight_map":{
    "x":"model-00002-of-00002.safetensors","y":"model-00001-of-00002.safetensors"}}"#;

#[test]
fn shards_make_one_table() {
    let index = ShardIndex::parse(INDEX.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(index.files, ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]);
    assert_eq!(index.total_size, Some(9));
    let y = read(&file_of(&[("y", &[2], StDType::F16), ("unnamed", &[1], StDType::U8)]));
    let x = read(&file_of(&[("x", &[3], StDType::F16)]));
    let set = ShardSet::join(&index, &[y.clone(), x.clone()]).unwrap();
    assert_eq!(set.tensors.named("x").map(|t| (t.file, t.shape.clone())), Some((1, vec![3])));
    assert_eq!(set.tensors.named("y").map(|t| t.file), Some(0));
    assert!(set.tensors.named("unnamed").is_none());

    let error = ShardSet::join(&index, &[x.clone(), y]).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Missing, Some("model-00002-of-00002.safetensors")));
    assert_eq!(ShardSet::join(&index, &[x]).unwrap_err().kind(), ErrorKind::Mismatch);
}

proptest! {
    #[test]
    fn any_tensors_survive(
        tensors in prop::collection::btree_map(
            "\\PC{0,20}",
            (prop::collection::vec(0u64..4, 0..5), prop::sample::select(&StDType::ALL[..])),
            0..8,
        )
    ) {
        prop_assume!(tensors.iter().all(|(_, (shape, dtype))| dtype.n_bytes(shape).is_some()));
        let list: Vec<_> = tensors.iter().map(|(n, (s, d))| (n.as_str(), &s[..], *d)).collect();
        let st = read(&file_of(&list));
        prop_assert_eq!(st.tensors.len(), list.len());
        for (name, shape, dtype) in list {
            let tensor = st.tensors.need(name).unwrap();
            prop_assert_eq!((&tensor.shape[..], tensor.dtype), (shape, dtype));
        }
    }
}

#[test]
fn errors_name_the_tensor_and_the_byte() {
    let json = r#"{"a.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#;
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(format!("{json}1234").as_bytes());
    let error = SafeTensors::read(&file[..], &Limits::default()).unwrap_err();
    let end = 8 + json.len() - 2;
    let expected = format!(
        "tensor \"a.weight\": expected data_offsets as far apart as the size, found data_offsets 0 to 4 \
         for 8 bytes, F32 of shape [2] (at byte {end})"
    );
    assert_eq!(error.to_string(), expected);
}
