//! Round trips and edge cases of GGUF reading, joining and writing.

use super::*;
use crate::{DType, ErrorKind, FormatError, Limits};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{boxed::Box, vec};
use core::cell::Cell;
use proptest::prelude::*;

fn read(file: &[u8]) -> Gguf {
    Gguf::read(file, &Limits::default()).unwrap()
}

fn one_of_each() -> Metadata {
    let mut m = Metadata::new();
    m.set("u8", 200u8);
    m.set("i8", -3i8);
    m.set("u16", 60_000u16);
    m.set("i16", -300i16);
    m.set("u32", 4_000_000_000u32);
    m.set("i32", -5i32);
    m.set("f32", 1e-5f32);
    m.set("bool", true);
    m.set("string", "ünïcode \u{1F999}\0 and zero");
    m.set("u64", u64::MAX);
    m.set("i64", i64::MIN);
    m.set("f64", 0.1f64);
    m.set("u8s", vec![1u8, 2]);
    m.set("i8s", vec![-1i8, 2]);
    m.set("u16s", vec![1u16, 2]);
    m.set("i16s", vec![-1i16, 2]);
    m.set("u32s", (0..3000).collect::<Vec<u32>>());
    m.set("i32s", vec![-1i32, 2]);
    m.set("f32s", vec![0.5f32, -0.0]);
    m.set("bools", vec![true, false, true]);
    m.set("strings", Strings::from_strs(["", "a", "ß", ""]).unwrap());
    m.set("u64s", vec![1u64, 2]);
    m.set("i64s", vec![-1i64, 2]);
    m.set("f64s", vec![0.5f64]);
    m.set("empty", Vec::<u32>::new());
    m
}

/// All strings of an array are checked at once, and the error is still that of the first bad one.
#[test]
fn a_character_in_two_strings_is_refused() {
    let mut metadata = Metadata::new();
    metadata.set("a", Strings::from_strs(["\u{e9}", "ab", "cd"]).unwrap());
    let mut file = GgufWriter::with_metadata(metadata).start(Vec::new()).unwrap().finish().unwrap();
    let at = file.windows(2).position(|pair| pair == b"ab").unwrap();
    (file[at + 1], file[at + 10]) = (0xC3, 0xA9);
    let error = Gguf::read(&file[..], &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Utf8);
    let text = error.to_string();
    assert!(text.contains("element 1 of key \"a\"") && text.contains("0xc3 after \"a\""), "{text}");
    assert_eq!(error.offset(), Some(at as u64 + 1));
}

#[test]
fn every_value_type_survives() {
    let metadata = one_of_each();
    let file = GgufWriter::with_metadata(metadata.clone()).start(Vec::new()).unwrap().finish().unwrap();
    let gguf = read(&file);
    assert_eq!(gguf.metadata, metadata);
    assert_eq!((gguf.version, gguf.alignment, gguf.tensors.len()), (3, 32, 0));
    for (key, value) in metadata.iter() {
        assert_eq!(ValueType::from_id(value.ty() as u32), Some(value.ty()));
        if let (Some(one), Some(of)) = (key.strip_suffix('s'), metadata.get(key)) {
            let Value::Array(array) = of else { panic!("{key} is an array") };
            assert_eq!(array.ty().name(), one);
        } else if key != "empty" {
            assert_eq!(value.ty().name(), key);
        }
    }
}

#[test]
fn version_2_reads_the_same() {
    let mut file = GgufWriter::with_metadata(one_of_each()).start(Vec::new()).unwrap().finish().unwrap();
    file[4] = 2;
    assert_eq!((read(&file).version, read(&file).metadata), (2, one_of_each()));
}

#[test]
fn typed_access_converts_without_loss_or_says_so() {
    let m = one_of_each();
    assert_eq!(m.need::<u64>("u8").unwrap(), 200);
    assert_eq!(m.need::<u32>("u32").unwrap(), 4_000_000_000);
    assert_eq!(m.need::<i64>("i8").unwrap(), -3);
    assert_eq!(m.need::<f32>("u8").unwrap(), 200.0);
    assert_eq!(m.need::<f32>("f64").unwrap(), 0.1);
    assert_eq!(m.need::<Vec<i64>>("u16s").unwrap(), [1, 2]);
    assert_eq!(m.need::<Vec<u32>>("empty").unwrap(), [0; 0]);
    assert!(m.need::<&Strings>("empty").unwrap().is_empty());
    assert_eq!(m.find::<u32>("absent").unwrap(), None);

    let refused = |result: Result<(), FormatError>, message: &str| {
        assert_eq!(result.unwrap_err().to_string(), message);
    };
    refused(
        m.need::<u32>("absent").map(drop),
        "key \"absent\": expected an integer of 32 bits, not negative, found nothing",
    );
    refused(
        m.need::<u32>("i8").map(drop),
        "key \"i8\": expected an integer of 32 bits, not negative, found i8 -3",
    );
    refused(m.need::<f32>("u64").map(drop), "key \"u64\": expected a number, found u64 18446744073709551615");
    refused(m.need::<f32>("u32s").map(drop), "key \"u32s\": expected a number, found array of 3000 u32");
    refused(m.need::<&str>("f32").map(drop), "key \"f32\": expected a string, found f32 1e-5");
    refused(
        m.need::<Vec<u32>>("i32s").map(drop),
        "key \"i32s\": expected an array of integers of 32 bits, none negative, found array of 2 i32",
    );
    for (key, wrong) in [("bool", "u32"), ("u8", "bool"), ("f32", "u32"), ("string", "u64")] {
        let error = match wrong {
            "u32" => m.find::<u32>(key).err(),
            "bool" => m.find::<bool>(key).err(),
            _ => m.find::<u64>(key).err(),
        };
        assert_eq!(error.unwrap().kind(), ErrorKind::WrongType, "{key} as {wrong}");
    }
    // 2^53 + 1 has no f64, and 2^24 + 1 no f32.
    let mut m = Metadata::new();
    m.set("big", (1u64 << 53) + 1);
    m.set("small", (1u32 << 24) + 1);
    assert!(m.find::<f64>("big").is_err() && m.find::<f32>("small").is_err());
    assert_eq!(m.find::<f64>("small").unwrap(), Some(16_777_217.0));
}

#[test]
fn one_number_stands_for_all_layers() {
    let mut m = Metadata::new();
    m.set("one", 8u32);
    m.set("each", vec![8i32, 4, 8]);
    assert_eq!(m.find_per_layer::<u32>("one", 3).unwrap(), Some(vec![8, 8, 8]));
    assert_eq!(m.find_per_layer::<u32>("each", 3).unwrap(), Some(vec![8, 4, 8]));
    assert_eq!(m.find_per_layer::<u32>("absent", 3).unwrap(), None);
    assert_eq!(m.find_per_layer::<u32>("each", 4).unwrap_err().kind(), ErrorKind::BadValue);
    assert_eq!(m.find_per_layer::<u32>("one", usize::MAX).unwrap_err().kind(), ErrorKind::OutOfMemory);
}

#[test]
fn overrides_are_json() {
    let mut m = Metadata::new();
    for (key, json) in [
        ("a", "8192"),
        ("b", "-1"),
        ("c", "0.1"),
        ("d", "true"),
        ("e", "\"text\""),
        ("f", "[1,0,1]"),
        ("g", "[]"),
        ("h", "[1,-1]"),
        ("i", "[1,0.5]"),
        ("j", "[\"x\",\"y\"]"),
    ] {
        m.set_json(key, json).unwrap();
    }
    assert_eq!(m.need::<u32>("a").unwrap(), 8192);
    assert_eq!(m.need::<i32>("b").unwrap(), -1);
    assert_eq!(m.need::<f32>("c").unwrap(), 0.1);
    assert!(m.need::<bool>("d").unwrap());
    assert_eq!(m.need::<&str>("e").unwrap(), "text");
    assert_eq!(m.need::<Vec<u32>>("f").unwrap(), [1, 0, 1]);
    assert_eq!(m.need::<Vec<u32>>("g").unwrap(), [0; 0]);
    assert_eq!(m.need::<Vec<i32>>("h").unwrap(), [1, -1]);
    assert_eq!(m.need::<Vec<f32>>("i").unwrap(), [1.0, 0.5]);
    assert_eq!(m.need::<&Strings>("j").unwrap().iter().collect::<Vec<_>>(), ["x", "y"]);
    for (json, kind) in [
        ("text", ErrorKind::Syntax),
        ("", ErrorKind::Syntax),
        ("null", ErrorKind::WrongType),
        ("{}", ErrorKind::WrongType),
        ("[[1]]", ErrorKind::WrongType),
        ("[1,\"x\"]", ErrorKind::WrongType),
    ] {
        let error = m.set_json("a", json).unwrap_err();
        assert_eq!((error.kind(), error.what()), (kind, "key \"a\""), "{json}");
    }
    assert_eq!(m.need::<u32>("a").unwrap(), 8192, "a refused override changes nothing");
}

#[test]
fn keys_keep_their_order() {
    let mut m = one_of_each();
    let n = m.len();
    m.set("i8", 7u32); // in place
    assert_eq!(m.iter().nth(1), Some(("i8", &Value::U32(7))));
    assert_eq!(m.remove("u8"), Some(Value::U8(200)));
    assert_eq!(m.remove("u8"), None);
    assert_eq!((m.len(), m.iter().next().map(|(k, _)| k)), (n - 1, Some("i8")));
    assert!(m.iter().all(|(key, value)| core::ptr::eq(m.get(key).unwrap(), value)));
}

/// A file of tensors `names[i]`, of `i + 1` F32 rows of 8.
fn file_of(names: &[&str], metadata: Metadata) -> Vec<u8> {
    let mut writer = GgufWriter::with_metadata(metadata);
    for (i, name) in names.iter().enumerate() {
        writer.tensor(name, &[8, i as u64 + 1], DType::F32).unwrap();
    }
    let mut stream = writer.start(Vec::new()).unwrap();
    for (i, name) in names.iter().enumerate() {
        stream.write(name, &vec![i as u8 + 1; 32 * (i + 1)]).unwrap();
    }
    stream.finish().unwrap()
}

#[test]
fn tensors_are_where_they_were_written() {
    for alignment in [1u32, 8, 32, 4096] {
        let mut writer = GgufWriter::new();
        writer.set(ALIGNMENT_KEY, alignment).unwrap();
        writer.tensor("q", &[64, 3], DType::Q4_0).unwrap();
        writer.tensor("scalar", &[], DType::F16).unwrap();
        writer.tensor("ids", &[3], OtherType::I64).unwrap();
        writer.tensor("experts", &[32, 2, 2], DType::MXFP4).unwrap();
        let mut stream = writer.start(Vec::new()).unwrap();
        stream.write("q", &[1; 100]).unwrap();
        stream.write("q", &[1; 8]).unwrap();
        stream.write("scalar", &[2; 2]).unwrap();
        stream.write("ids", &[3; 24]).unwrap();
        stream.write("experts", &[4; 68]).unwrap();
        let file = stream.finish().unwrap();
        let gguf = read(&file);
        assert_eq!(gguf.alignment, alignment);
        for (i, (name, bytes)) in [("q", 108), ("scalar", 2), ("ids", 24), ("experts", 68)].iter().enumerate()
        {
            let tensor = gguf.tensors.need(name).unwrap();
            assert_eq!(&tensor, &&gguf.tensors[i]);
            assert_eq!(tensor.n_bytes(), *bytes);
            assert!(tensor.range.start.is_multiple_of(alignment.into()));
            let data = &file[tensor.range.start as usize..tensor.range.end as usize];
            assert!(data.iter().all(|&b| b == i as u8 + 1));
        }
        assert_eq!(gguf.tensors[1].shape.len(), 0);
        assert_eq!((gguf.tensors[1].n_elements(), gguf.tensors[3].n_elements()), (1, 128));
        assert_eq!(gguf.tensors[2].dtype.as_dtype(), None);
        assert_eq!(gguf.tensors.need("nope").unwrap_err().kind(), ErrorKind::Missing);
        assert_eq!(
            gguf.tensors.sorted().map(|t| &*t.name).collect::<Vec<_>>(),
            ["experts", "ids", "q", "scalar"]
        );
    }
}

#[test]
fn the_last_padding_may_be_absent_and_tensors_in_any_order() {
    let mut file = file_of(&["a", "b"], Metadata::new());
    let last = read(&file).tensors[1].range.end as usize;
    file.truncate(last);
    read(&file);
    // Swap the two offsets: b (64 bytes) first, then a (32) after it.
    let offset_at = |file: &[u8], name: u8| {
        let name = file.windows(9).position(|w| w == [1, 0, 0, 0, 0, 0, 0, 0, name]).unwrap();
        name + 9 + 4 + 16 + 4
    };
    let (a, b) = (offset_at(&file, b'a'), offset_at(&file, b'b'));
    file[a] = 64;
    file[b] = 0;
    let gguf = read(&file);
    assert!(gguf.tensors[1].range.end == gguf.tensors[0].range.start);
}

#[test]
fn the_writer_refuses_what_readers_would() {
    let mut w = GgufWriter::new();
    let long = "n".repeat(64);
    for (name, ne, dtype) in [
        ("", &[1][..], DType::F32),
        (&long, &[1], DType::F32),
        ("a", &[1, 1, 1, 1, 1], DType::F32),
        ("a", &[0], DType::F32),
        ("a", &[33], DType::Q8_0),
        ("a", &[1], DType::F8E4M3),
    ] {
        assert_eq!(w.tensor(name, ne, dtype).unwrap_err().kind(), ErrorKind::BadValue, "{name:?} {ne:?}");
    }
    assert_eq!(w.tensor("a", &[1 << 62], DType::F32).unwrap_err().kind(), ErrorKind::Overflow);
    assert_eq!(w.set("", 1u8).unwrap_err().kind(), ErrorKind::BadValue);

    let mut twice = GgufWriter::new();
    twice.tensor("a", &[1], DType::F32).unwrap().tensor("a", &[1], DType::F32).unwrap();
    assert_eq!(twice.start(Vec::new()).unwrap_err().kind(), ErrorKind::Duplicate);
    let mut odd = GgufWriter::new();
    odd.set(ALIGNMENT_KEY, 48u32).unwrap();
    assert_eq!(odd.start(Vec::new()).unwrap_err().kind(), ErrorKind::BadValue);

    w.tensor("a", &[2], DType::F32).unwrap().tensor("b", &[1], DType::F32).unwrap();
    let mut stream = w.start(Vec::new()).unwrap();
    assert_eq!(stream.write("b", &[0; 4]).unwrap_err().kind(), ErrorKind::Mismatch);
    assert_eq!(stream.write("a", &[0; 9]).unwrap_err().kind(), ErrorKind::Mismatch);
    stream.write("a", &[0; 8]).unwrap();
    stream.write("b", &[0; 3]).unwrap();
    let error = stream.finish().unwrap_err();
    assert_eq!(error.to_string(), "tensor \"b\": expected 1 more bytes, found the end of writing");
}

#[test]
fn split_names() {
    let name = split::parse_name("dir/scout-q4-00002-of-00003.gguf").unwrap();
    assert_eq!((name.prefix, name.no, name.count), ("dir/scout-q4", 1, 3));
    let all = name.siblings(&Limits::default()).unwrap();
    assert_eq!(all[0], "dir/scout-q4-00001-of-00003.gguf");
    assert_eq!(all.len(), 3);
    for no in [
        "scout.gguf",
        "scout-00000-of-00003.gguf",
        "scout-00004-of-00003.gguf",
        "scout-1-of-3.gguf",
        "scout-00001-of-00003.bin",
        "scout-0000x-of-00003.gguf",
        "scout-+0001-of-00003.gguf",
    ] {
        assert_eq!(split::parse_name(no), None, "{no}");
    }
    let many = split::parse_name("a-00001-of-99999.gguf").unwrap().siblings(&Limits::default());
    assert_eq!(many.unwrap_err().kind(), ErrorKind::Limit);
}

/// Part `no` of `count`, with the key types that llama.cpp's splitter writes.
fn part(no: u16, count: u16, total: i32, tensors: &[&str]) -> Gguf {
    let mut m = Metadata::new();
    m.set("general.name", format!("part {no}"));
    m.set(split::NO_KEY, no);
    m.set(split::COUNT_KEY, count);
    m.set(split::TENSORS_KEY, total);
    read(&file_of(tensors, m))
}

#[test]
fn split_files_make_one_table() {
    let limits = Limits::default();
    let set = GgufSet::join(vec![part(0, 2, 3, &["a", "b"]), part(1, 2, 3, &["c"])], &limits).unwrap();
    assert_eq!(set.metadata.iter().map(|(k, _)| k).collect::<Vec<_>>(), ["general.name"]);
    assert_eq!(set.metadata.need::<&str>("general.name").unwrap(), "part 0");
    assert_eq!((set.n_files, set.tensors.len()), (2, 3));
    assert_eq!(set.tensors.named("c").map(|t| (t.file, t.n_elements())), Some((1, 8)));
    let alone = GgufSet::join(vec![read(&file_of(&["a"], Metadata::new()))], &limits).unwrap();
    assert_eq!((alone.n_files, alone.tensors[0].file), (1, 0));
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let plain = || read(&file_of(&["a"], Metadata::new()));
    let cases: [(&str, Vec<Gguf>, ErrorKind, &str); 8] = [
        ("none", vec![], ErrorKind::Missing, "at least one file"),
        ("one of two", vec![part(0, 2, 2, &["a"])], ErrorKind::Mismatch, "split.count"),
        ("order", vec![part(1, 2, 2, &["a"]), part(0, 2, 2, &["b"])], ErrorKind::Mismatch, "file 1 of 2"),
        ("twice", vec![part(0, 2, 2, &["a"]), part(0, 2, 2, &["b"])], ErrorKind::Mismatch, "file 2 of 2"),
        ("total", vec![part(0, 2, 3, &["a"]), part(1, 2, 3, &["b"])], ErrorKind::Mismatch, "3 tensors"),
        ("negative", vec![part(0, 1, -1, &["a"])], ErrorKind::WrongType, "split.tensors.count"),
        ("same tensor", vec![part(0, 2, 2, &["a"]), part(1, 2, 2, &["a"])], ErrorKind::Duplicate, "\"a\""),
        ("foreign", vec![plain(), plain()], ErrorKind::Mismatch, "split.count"),
    ];
    for (name, parts, kind, text) in cases {
        let error = GgufSet::join(parts, &Limits::default()).unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.to_string().contains(text), "{name}: {error}");
    }
}

/// Counts reads and bytes, and fails the test on a read past what is there.
struct Far<'a> {
    bytes: &'a [u8],
    reads: Cell<usize>,
    read: Cell<usize>,
}

impl Source for Far<'_> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        self.reads.set(self.reads.get() + 1);
        self.read.set(self.read.get() + into.len());
        self.bytes.read_at(offset, into)
    }
}

#[test]
fn a_llama_4_vocabulary_is_a_few_reads() {
    let tokens = Strings::from_strs((0..202_048).map(|i| format!("token{i}"))).unwrap();
    let merges = Strings::from_strs((0..439_802).map(|i| format!("mer {i}"))).unwrap();
    let mut writer = GgufWriter::new();
    writer.set("tokenizer.ggml.tokens", tokens.clone()).unwrap();
    writer.set("tokenizer.ggml.token_type", vec![1i32; 202_048]).unwrap();
    writer.set("tokenizer.ggml.merges", merges.clone()).unwrap();
    writer.tensor("w", &[1 << 20], DType::F32).unwrap();
    let mut stream = writer.start(Vec::new()).unwrap();
    stream.write("w", &vec![0; 4 << 20]).unwrap();
    let file = stream.finish().unwrap();

    let source = Far { bytes: &file, reads: Cell::new(0), read: Cell::new(0) };
    let started = std::time::Instant::now();
    let gguf = Gguf::read(&source, &Limits::default()).unwrap();
    let took = started.elapsed();
    assert_eq!(gguf.metadata.need::<&Strings>("tokenizer.ggml.tokens").unwrap(), &tokens);
    assert_eq!(gguf.metadata.need::<&Strings>("tokenizer.ggml.merges").unwrap(), &merges);
    assert_eq!(tokens.get(202_047), Some("token202047"));
    assert_eq!(tokens.get(202_048), None);
    assert!(source.reads.get() <= 24, "{} reads", source.reads.get());
    let header = gguf.data_offset as usize;
    // A window is re-read only from the next unread byte on, so little is read twice, and of the weights at
    // most one window.
    assert!(source.read.get() < header + (2 << 20), "{} bytes for a header of {header}", source.read.get());
    // Tens of milliseconds; the bound only catches something quadratic on a busy machine.
    assert!(took.as_secs_f64() < 2.0, "{took:?}");
}

#[cfg(feature = "std")]
#[test]
fn files_are_read_in_place() {
    use crate::{FileSource, WriteSink};
    let path = std::env::temp_dir().join(format!("puna-format-{}.gguf", std::process::id()));
    let mut writer = GgufWriter::new();
    writer.tensor("a", &[8], DType::F32).unwrap();
    let mut stream = writer.start(WriteSink(std::fs::File::create(&path).unwrap())).unwrap();
    stream.write("a", &[7; 32]).unwrap();
    drop(stream.finish().unwrap());
    let source = FileSource::open(&path).unwrap();
    let gguf = Gguf::read(&source, &Limits::default()).unwrap();
    let mut bytes = [0; 32];
    source.read_at(gguf.tensors[0].range.start, &mut bytes).unwrap();
    assert_eq!(bytes, [7; 32]);
    assert_eq!(source.read_at(source.len() - 1, &mut bytes).unwrap_err().kind(), ErrorKind::Truncated);
    std::fs::remove_file(&path).unwrap();
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        (-1e30f32..1e30).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        any::<Vec<i16>>().prop_map(Value::from),
        any::<Vec<u64>>().prop_map(Value::from),
        any::<Vec<bool>>().prop_map(Value::from),
        any::<Vec<String>>().prop_map(|v| Strings::from_strs(v).unwrap().into()),
    ]
}

/// Name, shape and type of a tensor with whole blocks.
fn any_tensor() -> impl Strategy<Value = (String, Vec<u64>, DType)> {
    let dtype = prop::sample::select(&DType::ALL[..]).prop_filter("in GGUF", |t| t.gguf_id().is_some());
    ("[a-z.0-9]{1,63}", prop::collection::vec(1u64..4, 1..=4), dtype).prop_map(|(name, mut ne, dtype)| {
        ne[0] *= dtype.block_len() as u64;
        (name, ne, dtype)
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        values in prop::collection::btree_map("[a-z.]{1,12}", any_value(), 0..8),
        tensors in prop::collection::vec(any_tensor(), 0..6),
        alignment in 0u32..8,
    ) {
        let mut writer = GgufWriter::new();
        writer.set(ALIGNMENT_KEY, 1u32 << alignment).unwrap();
        for (key, value) in &values {
            writer.set(key, value.clone()).unwrap();
        }
        let names = tensors.iter().map(|t| &t.0).collect::<std::collections::BTreeSet<_>>();
        prop_assume!(names.len() == tensors.len());
        for (name, ne, dtype) in &tensors {
            writer.tensor(name, ne, *dtype).unwrap();
        }
        let metadata = writer.metadata().clone();
        let mut stream = writer.start(Vec::new()).unwrap();
        let mut data: Vec<Box<[u8]>> = Vec::new();
        for (i, (name, ne, dtype)) in tensors.iter().enumerate() {
            let rows = ne[1..].iter().product::<u64>() as usize;
            data.push(vec![i as u8; dtype.row_bytes(ne[0] as usize).unwrap() * rows].into());
            stream.write(name, &data[i]).unwrap();
        }
        let file = stream.finish().unwrap();
        let gguf = read(&file);
        prop_assert_eq!(&gguf.metadata, &metadata);
        for ((info, (name, ne, dtype)), data) in gguf.tensors.iter().zip(&tensors).zip(&data) {
            prop_assert_eq!((&info.name, &info.shape[..], info.dtype.as_dtype()), (name, &ne[..], Some(*dtype)));
            prop_assert_eq!(&file[info.range.start as usize..info.range.end as usize], &data[..]);
        }
    }
}
