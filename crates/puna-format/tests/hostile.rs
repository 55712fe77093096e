//! Malformed files, each refused with its own error, without a panic and without memory beyond the file's size.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test is a panic")]

use puna_format::ErrorKind::{self, *};
use puna_format::gguf::Gguf;
use puna_format::safetensors::{SafeTensors, ShardIndex};
use puna_format::{FormatError, Limits, json};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Keeps the current and the highest number of allocated bytes of each thread.
struct Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    NOW.set(NOW.get() + bytes);
    PEAK.set(PEAK.get().max(NOW.get()));
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches only plain cells, which
// neither allocate nor are dropped.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps this function's contract, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above; `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that `f` holds at once.
fn peak<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.get();
    PEAK.set(before);
    let value = f();
    (value, (PEAK.get() - before) as usize)
}

/// Name of the case, file, kind of the error, and a text that its message contains.
type Case = (&'static str, Vec<u8>, ErrorKind, &'static str);

fn refused(cases: Vec<Case>, read: impl Fn(&[u8]) -> Result<(), FormatError>) {
    let mut names = std::collections::BTreeSet::new();
    for (name, file, kind, text) in cases {
        assert!(names.insert(name), "two cases called {name}");
        let (result, memory) = peak(|| read(&file));
        let Err(error) = result else { panic!("{name}: accepted") };
        assert_eq!(error.kind(), kind, "{name}: {error}");
        let message = error.to_string();
        assert!(message.contains(text), "{name}: {message:?} lacks {text:?}");
        assert!(message.contains("expected ") && message.contains(", found "), "{name}: {message}");
        assert!(!message.contains('\n') && message.len() < 600, "{name}: {message}");
        // A parsed value takes more than its text, but by a factor, not by what a number in the file says.
        assert!(memory < (64 << 10) + 40 * file.len(), "{name}: {memory} bytes for a file of {}", file.len());
        assert!(memory < 16 << 20, "{name}: {memory} bytes");
    }
}

/// GGUF by hand, including what no writer would write.
#[derive(Clone)]
struct Raw(Vec<u8>);

impl Raw {
    fn new(n_tensors: u64, n_keys: u64) -> Raw {
        Raw(b"GGUF".to_vec()).u32(3).u64(n_tensors).u64(n_keys)
    }
    fn bytes(mut self, bytes: &[u8]) -> Raw {
        self.0.extend_from_slice(bytes);
        self
    }
    fn u32(self, n: u32) -> Raw {
        self.bytes(&n.to_le_bytes())
    }
    fn u64(self, n: u64) -> Raw {
        self.bytes(&n.to_le_bytes())
    }
    fn str(self, s: impl AsRef<[u8]>) -> Raw {
        self.u64(s.as_ref().len() as u64).bytes(s.as_ref())
    }
    fn key(self, name: &str, ty: u32) -> Raw {
        self.str(name).u32(ty)
    }
    fn tensor(self, name: &str, ne: &[u64], ty: u32, offset: u64) -> Raw {
        let raw = self.str(name).u32(ne.len() as u32);
        ne.iter().fold(raw, |raw, &dim| raw.u64(dim)).u32(ty).u64(offset)
    }
    /// Padding, then `n` bytes of data.
    fn data(mut self, n: usize) -> Vec<u8> {
        self.0.resize(self.0.len().next_multiple_of(32) + n, 0x55);
        self.0
    }
}

fn gguf(file: &[u8]) -> Result<(), FormatError> {
    Gguf::read(file, &Limits::default()).map(drop)
}

/// A valid file with a key of every shape and three tensors.
fn valid_gguf() -> Vec<u8> {
    Raw::new(3, 5)
        .key("general.alignment", 4)
        .u32(32)
        .key("text", 8)
        .str("héllo")
        .key("flag", 7)
        .bytes(&[1])
        .key("list", 9)
        .u32(8)
        .u64(2)
        .str("a")
        .str("bc")
        .key("numbers", 9)
        .u32(6)
        .u64(3)
        .bytes(&[0; 12])
        .tensor("a", &[32, 2], 2, 0)
        .tensor("b", &[3], 0, 64)
        .tensor("c", &[2, 2], 1, 96)
        .data(104)
}

#[test]
fn a_valid_file_cut_anywhere_is_truncated() {
    let file = valid_gguf();
    gguf(&file).unwrap();
    let data = Gguf::read(&file[..], &Limits::default()).unwrap().data_offset as usize;
    for n in 0..file.len() {
        let (result, memory) = peak(|| gguf(&file[..n]));
        let error = result.unwrap_err();
        // The header's last padding holds nothing, so what is missing there is the first tensor's data.
        let kinds = if n + 32 <= data { &[Truncated][..] } else { &[Truncated, OutOfRange] };
        assert!(kinds.contains(&error.kind()), "{n} bytes of {}: {error}", file.len());
        assert!(error.offset().is_some_and(|at| at <= n as u64), "{n}: {error}");
        assert!(memory < 64 << 10, "{n}: {memory}");
    }
}

#[test]
fn gguf_headers() {
    let long_key = "k".repeat(513);
    let cases: Vec<Case> = vec![
        ("empty", vec![], Truncated, "magic"),
        ("another format", b"PK\x03\x04 and so on and on".to_vec(), NotThisFormat, "\"GGUF\""),
        ("older ggml", b"ggjt\x03\0\0\0 and so on and on".to_vec(), NotThisFormat, "magic"),
        ("version 0", Raw(b"GGUF".to_vec()).u32(0).u64(0).u64(0).0, Unsupported, "2 or 3"),
        ("version 1", Raw(b"GGUF".to_vec()).u32(1).u32(0).u32(0).0, Unsupported, "version 1"),
        ("version 4", Raw(b"GGUF".to_vec()).u32(4).u64(0).u64(0).0, Unsupported, "found 4"),
        ("big-endian", Raw(b"GGUF".to_vec()).u32(0x0300_0000).u64(0).u64(0).0, Unsupported, "big-endian"),
        ("tensors without end", Raw::new(u64::MAX, 0).0, Limit, "tensor count"),
        ("keys without end", Raw::new(0, u64::MAX).0, Limit, "key count"),
        ("many tensors, no bytes", Raw::new(200_000, 0).0, Truncated, "tensor count of 200000"),
        ("many keys, no bytes", Raw::new(0, 60_000).0, Truncated, "key count of 60000"),
        ("one key, no bytes", Raw::new(0, 1).0, Truncated, "key count"),
        ("key length max", Raw::new(0, 1).u64(u64::MAX).data(64), Limit, "name of key 0"),
        ("key length 2^63", Raw::new(0, 1).u64(1 << 63).data(64), Limit, "name of key 0"),
        ("key length past the end", Raw::new(0, 1).u64(500).data(64), Truncated, "name of key 0"),
        ("key longer than the limit", Raw::new(0, 1).key(&long_key, 4).u32(1).data(0), Limit, "512 bytes"),
        ("key not UTF-8", Raw::new(0, 1).str([b'a', 0xff]).u32(4).u32(1).data(0), Utf8, "after \"a\""),
        ("key empty", Raw::new(0, 1).key("", 4).u32(1).data(0), BadValue, "empty string"),
        ("value type 13", Raw::new(0, 1).key("a", 13).data(64), BadValue, "type of key \"a\""),
        ("value type max", Raw::new(0, 1).key("a", u32::MAX).data(64), BadValue, "4294967295"),
        ("boolean 2", Raw::new(0, 1).key("a", 7).bytes(&[2]).data(0), BadValue, "0 or 1, found 2"),
        (
            "string length max",
            Raw::new(0, 1).key("a", 8).u64(u64::MAX).data(64),
            Limit,
            "length of key \"a\"",
        ),
        ("string past the end", Raw::new(0, 1).key("a", 8).u64(1 << 20).data(64), Truncated, "key \"a\""),
        ("string overlong", Raw::new(0, 1).key("a", 8).str([0xc0, 0x80]).data(0), Utf8, "0xc0"),
        ("string surrogate", Raw::new(0, 1).key("a", 8).str([0xed, 0xa0, 0x80]).data(0), Utf8, "0xed"),
        ("string cut", Raw::new(0, 1).key("a", 8).str([b'x', 0xe2, 0x82]).data(0), Utf8, "0xe2"),
        ("array of arrays", Raw::new(0, 1).key("a", 9).u32(9).u64(1).data(64), BadValue, "array of arrays"),
        ("array of type 77", Raw::new(0, 1).key("a", 9).u32(77).u64(1).data(64), BadValue, "found 77"),
        ("array count max", Raw::new(0, 1).key("a", 9).u32(0).u64(u64::MAX).data(64), Limit, "elements"),
        ("array count 2^61", Raw::new(0, 1).key("a", 9).u32(10).u64(1 << 61).data(64), Limit, "elements"),
        (
            "array past the end",
            Raw::new(0, 1).key("a", 9).u32(12).u64(4 << 20).data(64),
            Truncated,
            "key \"a\"",
        ),
        (
            "booleans",
            Raw::new(0, 1).key("a", 9).u32(7).u64(2).bytes(&[1, 9]).data(0),
            BadValue,
            "element 1 of",
        ),
        (
            "strings past the end",
            Raw::new(0, 1).key("a", 9).u32(8).u64(4 << 20).data(64),
            Truncated,
            "key \"a\"",
        ),
        (
            "element length max",
            Raw::new(0, 1).key("a", 9).u32(8).u64(2).str("x").u64(u64::MAX).data(0),
            Limit,
            "element 1 of key \"a\"",
        ),
        (
            "element not UTF-8",
            Raw::new(0, 1).key("a", 9).u32(8).u64(2).str("x").str([0x80]).data(0),
            Utf8,
            "element 1 of key \"a\"",
        ),
        ("key twice", Raw::new(0, 2).key("a", 4).u32(1).key("a", 4).u32(1).data(0), Duplicate, "key \"a\""),
        (
            "key twice, two types",
            Raw::new(0, 2).key("a", 4).u32(1).key("a", 8).str("one").data(0),
            Duplicate,
            "number 1 after number 0",
        ),
        ("alignment 0", Raw::new(0, 1).key("general.alignment", 4).u32(0).data(0), BadValue, "power of two"),
        ("alignment 3", Raw::new(0, 1).key("general.alignment", 4).u32(3).data(0), BadValue, "found 3"),
        (
            "alignment 2^31",
            Raw::new(0, 1).key("general.alignment", 4).u32(1 << 31).data(0),
            Limit,
            "alignment",
        ),
        (
            "alignment 2^63",
            Raw::new(0, 1).key("general.alignment", 10).u64(1 << 63).data(0),
            WrongType,
            "u64",
        ),
        (
            "alignment negative",
            Raw::new(0, 1).key("general.alignment", 5).u32(-32i32 as u32).data(0),
            WrongType,
            "i32 -32",
        ),
        ("alignment text", Raw::new(0, 1).key("general.alignment", 8).str("32").data(0), WrongType, "\"32\""),
        ("control characters", Raw::new(0, 1).key("\x1b[2J\n", 13).data(64), BadValue, "\\u{1b}[2J\\n"),
    ];
    refused(cases, gguf);
}

#[test]
fn gguf_tensors() {
    let long_name = "n".repeat(513);
    let one = |ne: &[u64], ty, offset, data| Raw::new(1, 0).tensor("w", ne, ty, offset).data(data);
    let two = |a: &str, at_a, b: &str, at_b| {
        Raw::new(2, 0).tensor(a, &[16], 0, at_a).tensor(b, &[16], 0, at_b).data(256)
    };
    let cases: Vec<Case> = vec![
        ("name length max", Raw::new(1, 0).u64(u64::MAX).data(64), Limit, "name of tensor 0"),
        ("name past the end", Raw::new(1, 0).u64(400).data(64), Truncated, "name of tensor 0"),
        ("name too long", Raw::new(1, 0).tensor(&long_name, &[1], 0, 0).data(4), Limit, "512 bytes"),
        ("name empty", Raw::new(1, 0).tensor("", &[1], 0, 0).data(4), BadValue, "empty string"),
        ("name not UTF-8", Raw::new(1, 0).str([0xfe]).u32(0).u32(0).u64(0).data(4), Utf8, "name of tensor 0"),
        ("five dimensions", one(&[1, 1, 1, 1, 1], 0, 0, 64), BadValue, "at most 4 dimensions"),
        ("dimensions max", Raw::new(1, 0).str("w").u32(u32::MAX).data(64), BadValue, "4294967295"),
        ("dimension 0", one(&[4, 0], 0, 0, 64), BadValue, "dimension 1 of 0"),
        ("dimension -1", one(&[u64::MAX], 0, 0, 64), Overflow, "tensor \"w\""),
        ("product 2^64", one(&[1 << 32, 1 << 32], 0, 0, 64), Overflow, "64 bits"),
        ("product wraps to 4", one(&[4, (1 << 62) + 1], 0, 0, 64), Overflow, "64 bits"),
        ("product 2^63", one(&[1 << 62, 2], 24, 0, 64), Overflow, "64 bits"),
        ("bytes 2^64", one(&[1 << 62], 0, 0, 64), Overflow, "64 bits"),
        ("bytes 2^62", one(&[1 << 60], 0, 0, 64), OutOfRange, "data section"),
        ("retired type", one(&[32], 4, 0, 64), Unsupported, "retired"),
        ("unknown type", one(&[32], 99, 0, 64), Unsupported, "type id 99"),
        ("half a block", one(&[48], 2, 0, 64), BadValue, "multiple of 32"),
        ("half a super-block", one(&[128, 2], 12, 0, 512), BadValue, "rows of 128"),
        ("offset not aligned", one(&[4], 0, 4, 64), Misaligned, "multiple of 32"),
        ("offset max", one(&[8], 0, u64::MAX - 31, 64), Overflow, "an end within 64 bits"),
        ("offset near the end of u64", one(&[4], 0, u64::MAX - 63, 64), OutOfRange, "tensor \"w\""),
        ("offset past the end", one(&[4], 0, 1 << 40, 64), OutOfRange, "the 64 bytes"),
        ("one byte short", one(&[16], 0, 0, 63), OutOfRange, "the 63 bytes"),
        ("no data", Raw::new(1, 0).tensor("w", &[1], 0, 0).0, OutOfRange, "the 0 bytes"),
        ("the same bytes", two("a", 0, "b", 0), Overlap, "bytes of its own"),
        ("overlapping", two("a", 0, "b", 32), Overlap, "tensor \"b\""),
        ("overlapping, listed backwards", two("a", 32, "b", 0), Overlap, "tensor \"a\""),
        ("the same name", two("a", 0, "a", 64), Duplicate, "tensor \"a\""),
        ("two tensors announced, one there", Raw::new(2, 0).tensor("w", &[1], 0, 0).0, Truncated, "tensor"),
        (
            "key as tensor",
            Raw::new(1, 1).key("a", 4).u32(7).key("b", 4).u32(7).data(64),
            Unsupported,
            "tensor \"b\"",
        ),
    ];
    refused(cases, gguf);
}

#[test]
fn the_callers_limits_hold() {
    let file = valid_gguf();
    type Set = fn(&mut Limits);
    let cases: [(&str, Set); 8] = [
        ("header", |l| l.header_bytes = 100),
        ("metadata", |l| l.metadata_bytes = 100),
        ("key count", |l| l.keys = 4),
        ("tensor count", |l| l.tensors = 2),
        ("name of key 0", |l| l.name_bytes = 16),
        ("key \"text\"", |l| l.string_bytes = 5),
        ("key \"numbers\"", |l| l.array_len = 2),
        ("general.alignment", |l| l.alignment = 16),
    ];
    for (text, set) in cases {
        let mut limits = Limits::default();
        set(&mut limits);
        let error = Gguf::read(&file[..], &limits).unwrap_err();
        assert_eq!(error.kind(), Limit, "{error}");
        assert!(error.to_string().contains(text), "{error} lacks {text}");
    }
}

fn safetensors(json: impl AsRef<[u8]>, data: usize) -> Vec<u8> {
    let json = json.as_ref();
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(json);
    file.resize(file.len() + data, 0x55);
    file
}

#[test]
fn safetensors_files() {
    let entry = |fields: &str, data| safetensors(format!("{{\"w\":{{{fields}}}}}"), data);
    let f32s = |shape: &str, from: u64, to: u64, data| {
        entry(&format!("\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{from},{to}]"), data)
    };
    let pair = |a: (u64, u64), b: (u64, u64), data| {
        let one = |name, (from, to): (u64, u64)| {
            format!(
                "\"{name}\":{{\"dtype\":\"U8\",\"shape\":[{}],\"data_offsets\":[{from},{to}]}}",
                to - from
            )
        };
        safetensors(format!("{{{},{}}}", one("a", a), one("b", b)), data)
    };
    let deep = format!("{{\"w\":{}", "{\"dtype\":".repeat(50_000));
    let long = format!("{{\"{}\":{{}}}}", "n".repeat(513));
    let cases: Vec<Case> = vec![
        ("empty", vec![], Truncated, "8 bytes"),
        ("seven bytes", vec![0; 7], Truncated, "8 bytes"),
        ("length max", vec![0xff; 64], Limit, "100000000"),
        ("length 100,000,001", Raw(vec![]).u64(100_000_001).data(64), Limit, "100000001"),
        (
            "length past the end",
            Raw(vec![]).u64(90_000_000).data(64),
            Truncated,
            "90000000 bytes, as announced",
        ),
        ("length 0", vec![0; 8], NotThisFormat, "'{'"),
        ("a list", safetensors("[]", 0), NotThisFormat, "0x5b"),
        ("leading space", safetensors(" {}", 0), NotThisFormat, "0x20"),
        ("cut JSON", safetensors("{\"w\":", 0), Syntax, "EOF"),
        ("something after the JSON", safetensors("{} {}", 0), Syntax, "trailing"),
        ("not UTF-8", safetensors(b"{\"\xff\":1}", 0), Utf8, "0xff"),
        ("not an entry", safetensors("{\"w\":1}", 0), WrongType, "for tensor \"w\""),
        ("an empty entry", entry("", 0), Missing, "dtype, shape and data_offsets"),
        ("no dtype", entry("\"shape\":[1],\"data_offsets\":[0,4]", 4), Missing, "dtype"),
        ("no shape", entry("\"dtype\":\"F32\",\"data_offsets\":[0,4]", 4), Missing, "shape"),
        ("no offsets", entry("\"dtype\":\"F32\",\"shape\":[1]", 4), Missing, "data_offsets"),
        ("a further field", entry("\"stride\":[1]", 4), BadValue, "\"stride\""),
        ("field twice", entry("\"dtype\":\"F32\",\"dtype\":\"F32\"", 4), Duplicate, "dtype again"),
        ("unknown dtype", entry("\"dtype\":\"F33\"", 4), Unsupported, "\"F33\""),
        ("dtype in lower case", entry("\"dtype\":\"f32\"", 4), Unsupported, "\"f32\""),
        ("dtype a number", entry("\"dtype\":0", 4), WrongType, "integer `0`"),
        ("shape negative", f32s("[-1]", 0, 4, 4), WrongType, "-1"),
        ("shape fractional", f32s("[1.5]", 0, 4, 4), WrongType, "1.5"),
        ("shape a text", f32s("\"1\"", 0, 4, 4), WrongType, "shape of tensor"),
        ("shape a long text", f32s(&format!("\"{}\"", "x".repeat(100_000)), 0, 4, 4), WrongType, "xxx…"),
        ("shape 2^64", f32s("[18446744073709551616]", 0, 4, 4), WrongType, "found"),
        ("nine dimensions", f32s("[1,1,1,1,1,1,1,1,1]", 0, 4, 4), Limit, "shape of tensor \"w\""),
        ("product overflows", f32s("[4294967296,4294967296]", 0, 0, 0), Overflow, "tensor \"w\""),
        ("bits overflow", f32s("[1152921504606846976]", 0, 0, 0), Overflow, "tensor \"w\""),
        ("half a byte", entry("\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]", 2), Overflow, "F4"),
        (
            "one offset",
            entry("\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]", 1),
            BadValue,
            "1 numbers",
        ),
        ("three offsets", entry("\"data_offsets\":[0,1,2]", 1), Limit, "data_offsets of tensor \"w\""),
        ("offsets reversed", f32s("[1]", 4, 0, 4), BadValue, "4 to 0"),
        ("size mismatch", f32s("[2]", 0, 4, 4), BadValue, "for 8 bytes"),
        ("offsets max", f32s("[1]", u64::MAX - 4, u64::MAX, 4), Overlap, "from byte 0 on"),
        ("hole at the start", f32s("[1]", 4, 8, 8), Overlap, "from byte 0 on"),
        ("hole between", pair((0, 4), (5, 8), 8), Overlap, "tensor \"b\""),
        ("overlap", pair((0, 4), (3, 8), 8), Overlap, "from byte 4 on"),
        ("one inside the other", pair((0, 8), (2, 4), 8), Overlap, "tensor \"b\""),
        ("past the end", f32s("[2]", 0, 8, 7), OutOfRange, "the 7 bytes"),
        ("bytes left over", f32s("[1]", 0, 4, 5), Overlap, "the end of the last tensor"),
        ("bytes and no tensor", safetensors("{}", 1), Overlap, "safetensors data"),
        (
            "tensor twice",
            safetensors(
                "{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\
                  \"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
                2,
            ),
            Duplicate,
            "tensor \"w\"",
        ),
        (
            "tensor twice, once escaped",
            safetensors(
                "{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\
                  \"\\u0077\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
                2,
            ),
            Duplicate,
            "tensor \"w\"",
        ),
        (
            "metadata twice",
            safetensors("{\"__metadata__\":{},\"__metadata__\":{}}", 0),
            Duplicate,
            "__metadata__",
        ),
        (
            "metadata key twice",
            safetensors("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", 0),
            Duplicate,
            "\"a\"",
        ),
        ("metadata a number", safetensors("{\"__metadata__\":{\"a\":1}}", 0), WrongType, "integer `1`"),
        ("metadata a list", safetensors("{\"__metadata__\":[]}", 0), WrongType, "__metadata__"),
        ("name too long", safetensors(long, 0), Limit, "512 bytes"),
        ("nested without end", safetensors(deep, 0), WrongType, "found"),
    ];
    refused(cases, |file| SafeTensors::read(file, &Limits::default()).map(drop));
}

#[test]
fn index_files() {
    let map = |entries: &str| format!("{{\"weight_map\":{{{entries}}}}}").into_bytes();
    let file = |name: &str| map(&format!("\"w\":\"{name}\""));
    let many: Vec<String> = (0..1025).map(|i| format!("\"w{i}\":\"{i}.safetensors\"")).collect();
    let long = format!("\"{}\":\"a.safetensors\"", "n".repeat(513));
    let cases: Vec<Case> = vec![
        ("empty", vec![], Syntax, "EOF"),
        ("a list", b"[]".to_vec(), WrongType, "an object, found a list of 0"),
        ("no map", b"{\"metadata\":{}}".to_vec(), Missing, "weight_map"),
        ("map null", b"{\"weight_map\":null}".to_vec(), Missing, "weight_map"),
        ("map a list", b"{\"weight_map\":[]}".to_vec(), WrongType, "weight_map"),
        ("map empty", map(""), Missing, "at least one tensor"),
        (
            "metadata a list",
            b"{\"metadata\":[],\"weight_map\":{\"w\":\"a.safetensors\"}}".to_vec(),
            WrongType,
            "metadata",
        ),
        ("file a number", map("\"w\":1"), WrongType, "tensor \"w\""),
        ("tensor twice", map("\"w\":\"a.safetensors\",\"w\":\"b.safetensors\""), Duplicate, "\"w\""),
        ("parent folder", file("../evil.safetensors"), BadValue, "../evil"),
        ("absolute", file("/etc/evil.safetensors"), BadValue, "without folders"),
        ("folder", file("a/b.safetensors"), BadValue, "without folders"),
        ("backslash", file("..\\\\b.safetensors"), BadValue, "without folders"),
        ("drive", file("C:b.safetensors"), BadValue, "without folders"),
        ("hidden", file(".safetensors"), BadValue, "plain name"),
        ("dots", file(".."), BadValue, "plain name"),
        ("empty name", file(""), BadValue, "plain name"),
        ("zero byte", file("a\\u0000.safetensors"), BadValue, "plain name"),
        ("pickle", file("pytorch_model.bin"), BadValue, ".safetensors"),
        ("long name of a file", file(&("a".repeat(300) + ".safetensors")), BadValue, "plain name"),
        ("too many files", map(&many.join(",")), Limit, "1024 files"),
        ("long name of a tensor", map(&long), Limit, "512 bytes"),
    ];
    refused(cases, |file| ShardIndex::parse(file, &Limits::default()).map(drop));
}

#[test]
fn json_files() {
    let wide = format!("[{}0]", "0,".repeat(1 << 18));
    let cases: Vec<Case> = vec![
        ("empty", vec![], Syntax, "EOF"),
        ("deep lists", "[".repeat(1 << 20).into_bytes(), Limit, "64 levels"),
        ("deep objects", "{\"a\":".repeat(1 << 16).into_bytes(), Limit, "64 levels"),
        ("wide", wide.into_bytes(), Limit, "262144 values"),
        ("large", vec![b' '; (32 << 20) + 1], Limit, "33554432 bytes"),
        ("not a number", b"[NaN]".to_vec(), Syntax, "expected value"),
        ("infinite", b"[1e999]".to_vec(), Syntax, "out of range"),
        ("trailing comma", b"[1,]".to_vec(), Syntax, "trailing comma"),
        ("trailing text", b"{} x".to_vec(), Syntax, "trailing characters"),
        ("lone surrogate", b"[\"\\ud800\"]".to_vec(), Syntax, "hex escape"),
        ("control character", b"[\"\n\"]".to_vec(), Syntax, "control character"),
        ("not UTF-8", b"[\"\xff\"]".to_vec(), Utf8, "0xff"),
        ("UTF-16", b"\xff\xfe[\0]\0".to_vec(), Utf8, "0xff"),
        ("comment", b"{/* */}".to_vec(), Syntax, "found"),
    ];
    refused(cases, |file| json::parse(file, &Limits::default()).map(drop));
}
