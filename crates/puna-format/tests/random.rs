//! Random bytes, and valid files with random damage: a table or an error, never a panic.
//!
//! The targets are those of the fuzzer, which check what they parse.

#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

use proptest::prelude::*;
use puna_format::gguf::{GgufWriter, Strings};
use puna_format::safetensors::{StDType, StWriter};
use puna_format::{DType, FormatError};

#[path = "../../../fuzz/src/format.rs"]
#[expect(unreachable_pub, reason = "public in the package that it belongs to")]
mod targets;

fn valid_gguf() -> Result<Vec<u8>, FormatError> {
    let mut writer = GgufWriter::new();
    writer.set("general.architecture", "llama4")?.set("a.flag", true)?.set("a.scale", 0.5f32)?;
    writer.set("a.list", vec![1u32, 2, 3])?.set("a.names", Strings::from_strs(["x", "yz"])?)?;
    writer.tensor("q", &[32, 2], DType::Q8_0)?.tensor("f", &[3], DType::F32)?;
    let mut stream = writer.start(Vec::new())?;
    stream.write("q", &[1; 68])?;
    stream.write("f", &[2; 12])?;
    stream.finish()
}

fn valid_safetensors() -> Result<Vec<u8>, FormatError> {
    let mut writer = StWriter::new();
    writer.tensor("a.weight", &[2, 3], StDType::BF16)?.tensor("b", &[4], StDType::F32)?;
    writer.metadata("format", "pt");
    let mut stream = writer.start(Vec::new())?;
    stream.write("a.weight", &[1; 12])?;
    stream.write("b", &[2; 16])?;
    stream.finish()
}

const INDEX: &[u8] =
    br#"{"metadata":{"total_size":9},"weight_map":{"x":"m-1.safetensors","y":"m-2.safetensors"}}"#;
const CONFIG: &[u8] =
    br#"{"text_config":{"n":48,"eps":1e-05,"list":[1,0],"rope":{"factor":8.0},"no":null},"a":"b"}"#;

/// `(where, what)`: bytes set, and a length to cut to or to extend with zeros.
fn damage(file: &[u8], hits: &[(prop::sample::Index, u8)], len: usize) -> Vec<u8> {
    let mut file = file.to_vec();
    for (at, byte) in hits {
        let at = at.index(file.len());
        file[at] = *byte;
    }
    file.resize(len.min(2 * file.len()), 0);
    file
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes(data in any::<Vec<u8>>()) {
        targets::gguf(&data);
        targets::gguf(&[b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0", &data[..]].concat());
        targets::safetensors(&data);
        targets::safetensors(&[&(data.len() as u64 + 1).to_le_bytes(), &b"{"[..], &data].concat());
        targets::index(&data);
        targets::config(&data);
    }

    #[test]
    fn damaged_files(
        hits in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0), Just(255)]), 0..6),
        len in prop_oneof![Just(usize::MAX), 0usize..512],
    ) {
        let cut = |file: &[u8]| if len == usize::MAX { file.len() } else { len };
        let (gguf, st) = (valid_gguf().unwrap(), valid_safetensors().unwrap());
        targets::gguf(&damage(&gguf, &hits, cut(&gguf)));
        targets::safetensors(&damage(&st, &hits, cut(&st)));
        targets::index(&damage(INDEX, &hits, cut(INDEX)));
        targets::config(&damage(CONFIG, &hits, cut(CONFIG)));
    }
}
