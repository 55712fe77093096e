//! Memory: weights are mapped and not copied, and decoding allocates nothing for each token.
//!
//! A binary of its own, because it counts what the whole process allocates.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test is a panic")]

use puna::{Cancel, FileAccess, LoadOptions, Model, Sampling, SessionOptions};
use puna_tests::fetched::smollm2;
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// The system's allocator, counting.
struct Counting;

static CALLS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);

// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        LIVE.fetch_add(layout.size() as i64, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Relaxed);
        // SAFETY: `ptr` came from the system's allocator with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        LIVE.fetch_add(size as i64 - layout.size() as i64, Relaxed);
        // SAFETY: `ptr` came from the system's allocator with this layout, and the caller checked `size`.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test at a time: they count the same process.
static ALONE: Mutex<()> = Mutex::new(());

/// Resident memory that is this process's own and that no file could give back: `Private_Dirty`, in bytes.
#[cfg(target_os = "linux")]
fn private_bytes() -> u64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find(|l| l.starts_with("Private_Dirty:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn a_loaded_model_is_its_file() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let path = smollm2();
    let size = fs::metadata(&path).unwrap().len();
    let (live, private) = (LIVE.load(Relaxed), private_bytes());
    let model = Model::open(&path, &LoadOptions::default().threads(2)).unwrap();
    let (held, resident) = ((LIVE.load(Relaxed) - live) as u64, private_bytes().saturating_sub(private));
    let percent = |bytes: u64| bytes as f64 * 100.0 / size as f64;
    let report = format!("{:.2} % allocated, {:.2} % resident and private", percent(held), percent(resident));
    assert!(held * 10 < size && resident * 10 < size, "{report}");

    // A session, every weight used, and still nothing of the file copied.
    let mut session = model.session(&SessionOptions::default().context(256).batch(32)).unwrap();
    session.push_text("The sky is blue because").unwrap();
    session.generate(&Sampling::default()).max_tokens(8).text().unwrap();
    let resident = private_bytes().saturating_sub(private);
    let session_bytes = session.kv_bytes() + 32 * 4 * 60_000;
    // The first text had the tokenizer's tables made, which are the same for any size of model. About as much again was
    // allocated and given back meanwhile, and the system's allocator keeps those pages.
    assert!(resident < size / 4 + session_bytes, "{:.2} % with a session; {report}", percent(resident));

    // When asked to, it is read instead.
    let before = LIVE.load(Relaxed);
    let read = Model::open(&path, &LoadOptions::default().threads(1).file_access(FileAccess::Read)).unwrap();
    assert!((LIVE.load(Relaxed) - before) as u64 >= size);
    drop(read);
    let left = LIVE.load(Relaxed) - before;
    assert!(left.unsigned_abs() < 100_000, "{left} bytes are left of a closed model");
}

/// Allocations while `n` tokens are decoded, the first few left out: buffers reach their size on first use.
fn allocations(model: &Model, prompt: &[u32], n: usize, sampling: &Sampling) -> u64 {
    let mut session = model.session(&SessionOptions::default().context(prompt.len() + n + 8)).unwrap();
    session.push_tokens(prompt).unwrap();
    session.prefill(&Cancel::new()).unwrap();
    let mut generation = session.generate(sampling).max_tokens(n + 4).ignore_end();
    for _ in 0..4 {
        generation.next().unwrap().unwrap();
    }
    let before = CALLS.load(Relaxed);
    for _ in 0..n {
        generation.next().unwrap().unwrap();
    }
    CALLS.load(Relaxed) - before
}

/// Within a cache block of 256 positions; that blocks are added is what `kv_bytes` shows.
#[test]
fn decoding_allocates_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let samplers = [
        Sampling::default(),
        Sampling::default().temperature(0.8).top_p(0.95).top_k(40).min_p(0.02).seed(3),
        Sampling::default()
            .temperature(1.0)
            .typical_p(0.9)
            .repetition_penalty(1.1)
            .presence_penalty(0.1)
            .seed(4),
    ];
    // On one thread: a worker of the pool takes its working memory with its first task, which on a busy machine may
    // come late.
    let smollm2 = Model::open(smollm2(), &LoadOptions::default().threads(1)).unwrap();
    let tiny = Model::from_bytes(puna::tiny::gguf(7).unwrap(), &LoadOptions::default().threads(1)).unwrap();
    for (name, model) in [("smollm2", smollm2), ("experts and chunks", tiny)] {
        for sampling in &samplers {
            // From position 7 to about 100, across six chunks of the small model.
            let n = allocations(&model, &[1, 2, 3, 4, 5, 6, 7], 90, sampling);
            assert_eq!(n, 0, "{name}: {n} allocations in 90 tokens with {sampling:?}");
        }
    }
}

/// Sessions and models give back what they took.
#[test]
fn nothing_leaks() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let cycle = || {
        let model =
            Model::from_bytes(puna::tiny::gguf(7).unwrap(), &LoadOptions::default().threads(2)).unwrap();
        let mut session = model.session(&SessionOptions::default()).unwrap();
        session.push_text("some words, more than one chunk of them").unwrap();
        session.generate(&Sampling::default()).max_tokens(40).ignore_end().for_each(|t| drop(t.unwrap()));
        let mut fork = session.fork().unwrap();
        fork.truncate(5);
        fork.push_text("other words").unwrap();
        fork.prefill(&Cancel::new()).unwrap();
    };
    cycle();
    let before = LIVE.load(Relaxed);
    (0..20).for_each(|_| cycle());
    let grown = LIVE.load(Relaxed) - before;
    assert!(grown < 10_000, "{grown} bytes more after twenty models");
}
