//! Files that end too early, in every section, and files that are none.

use super::{Parts, Refused};
use puna::ErrorKind;
use puna_format::Limits;
use puna_format::gguf::Gguf;
use puna_testkit::ModelDir;
use puna_tests::seeded::Seeded;

#[test]
fn gguf_cut_in_every_section() {
    let mut refused = Refused::new();
    let whole = Parts::tiny().bytes();
    let file = Gguf::read(&whole[..], &Limits::default()).unwrap();
    let data = file.data_offset as usize;
    let find = |text: &str| whole.windows(text.len()).position(|w| w == text.as_bytes()).unwrap();
    // The length of a string is in the eight bytes before it.
    let (key, table) = (find("llama4.block_count"), find("token_embd.weight"));
    let mut cuts = vec![
        0,
        1,
        4,
        6,
        8,
        12,
        16,
        20,
        24,
        28, // magic, version, counts, the first key's length
        key - 4,
        key,
        key + 5,
        key + 18,
        key + 20,
        key + 22,                           // a key: length, text, type, value
        find("tokenizer.ggml.tokens") + 30, // a list of strings
        table - 4,
        table,
        table + 9,
        table + 17,
        table + 25,
        table + 33,
        table + 40, // a tensor: name, dims, type, offset
        data - 1,
        data,
        data + 1, // the padding, and the first byte of data
        whole.len() / 2,
        whole.len() - 33,
        whole.len() - 1,
    ];
    let mut rng = Seeded(5);
    cuts.extend((0..30).map(|_| rng.below(data)));
    cuts.extend((0..20).map(|_| rng.below(whole.len())));
    for cut in cuts {
        refused.bytes(
            &format!("cut at {cut} of {}", whole.len()),
            whole[..cut].to_vec(),
            ErrorKind::BadFile,
            &["expected"],
        );
    }
    assert!(refused.count >= 75, "{}", refused.count);
}

#[test]
fn files_that_are_none() {
    let mut refused = Refused::new();
    let folder = ModelDir::new("none");
    for (name, bytes) in [
        ("empty.gguf", &b""[..]),
        ("text.gguf", b"this is a text file, not a model\n"),
        ("zip.gguf", b"PK\x03\x04aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("big-endian.gguf", b"FUGG\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("old.bin", b"lmgg\x01\0\0\0"),
    ] {
        folder.write(name, bytes);
        let path = folder.directory().join(name);
        refused.path(name, &path, ErrorKind::BadFile, &[name]);
    }
    folder.write("v9.gguf", b"GGUF\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    refused.path("version", &folder.directory().join("v9.gguf"), ErrorKind::Unsupported, &["v9.gguf", "9"]);
    refused.path("absent", &folder.directory().join("absent.gguf"), ErrorKind::Io, &["absent.gguf"]);
    refused.path(
        "a folder of nothing useful",
        folder.directory(),
        ErrorKind::BadFile,
        &["config.json", ".gguf"],
    );
    // What a process can be made to wait for, or read without end.
    #[cfg(unix)]
    for path in ["/dev/null", "/dev/zero"] {
        refused.path(path, std::path::Path::new(path), ErrorKind::Io, &[path]);
    }
}

#[test]
fn headers_that_promise_too_much() {
    let mut refused = Refused::new();
    let whole = Parts::tiny().bytes();
    let with = |at: usize, value: u64| {
        let mut bytes = whole.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    // Tensor count, key count, length of the first key: refused before any memory is taken.
    for (what, at) in [("tensors", 8), ("keys", 16), ("a key's length", 24)] {
        for value in [u64::MAX, i64::MAX as u64, 1 << 40] {
            let error = puna::Model::from_bytes(with(at, value), &super::options()).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::BadFile | ErrorKind::Limit), "{what} {value}: {error}");
            refused.witness.still_works();
        }
    }
    let mut tight = puna::Limits::default();
    tight.tensors = 3;
    let error = puna::Model::from_bytes(whole, &super::options().limits(tight)).unwrap_err();
    super::assert_clear("a limit of the caller's", &error, ErrorKind::Limit, &["3"]);
}

#[test]
fn split_files_that_do_not_belong_together() {
    let mut refused = Refused::new();
    let tiny = Parts::tiny();
    let n = tiny.tensors.len();
    let name = |no: usize| format!("m-{:05}-of-00003.gguf", no + 1);
    let shards: Vec<Parts> = (0..3)
        .map(|no| {
            let mut part = Parts {
                metadata: if no == 0 { tiny.metadata.clone() } else { Default::default() },
                tensors: tiny.tensors.chunks(n.div_ceil(3)).nth(no).unwrap().to_vec(),
            };
            part = part.set("split.no", no as u16).set("split.count", 3u16);
            part.set("split.tensors.count", n as i32)
        })
        .collect();
    let folder = |change: &dyn Fn(usize) -> Option<Vec<u8>>| {
        let folder = ModelDir::new("split");
        (0..3).for_each(|no| change(no).into_iter().for_each(|bytes| folder.write(&name(no), &bytes)));
        folder
    };
    let good = folder(&|no| Some(shards[no].bytes()));
    for no in 0..3 {
        let opened = puna::Model::open(good.directory().join(name(no)), &super::options());
        assert!(opened.is_ok(), "any shard opens the model: {opened:?}");
    }
    for missing in 0..3 {
        let bad = folder(&|no| (no != missing).then(|| shards[no].bytes()));
        let open = bad.directory().join(name(usize::from(missing == 0)));
        refused.path("a missing shard", &open, ErrorKind::Io, &[&name(missing)]);
    }
    let cut = folder(&|no| {
        Some(
            shards[no].bytes()[..if no == 2 { 40 } else { usize::MAX }.min(shards[no].bytes().len())]
                .to_vec(),
        )
    });
    refused.path("a cut shard", &cut.directory().join(name(0)), ErrorKind::BadFile, &[&name(2)]);
    let twice = folder(&|no| Some(shards[no.min(1)].bytes()));
    refused.path("a shard twice", &twice.directory().join(name(0)), ErrorKind::BadFile, &["split"]);
    let short = folder(&|no| {
        let mut shard = shards[no].clone();
        if no == 2 {
            shard.tensors.pop();
        }
        Some(shard.bytes())
    });
    refused.path("too few tensors", &short.directory().join(name(0)), ErrorKind::BadFile, &["tensor"]);
    assert_eq!(refused.count, 6);
}
