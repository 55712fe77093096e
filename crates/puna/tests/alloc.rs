//! Decoding allocates nothing: forward pass, sampling, text and token, shown by an allocator that counts.
#![allow(unsafe_code, reason = "a global allocator is unsafe to write")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed assumption in a test should stop it")]

use puna::{Activations, DeviceKind, LoadOptions, Model, Sampling, Session, SessionOptions};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator unchanged; counting touches no memory that it manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Positions of a cache block of full layers, where the context is larger.
const BLOCK: usize = 256;

/// The most allocations of a decode step between two cache blocks, those of the steps that add a block, and the steps.
fn while_decoding(session: &mut Session, sampling: &Sampling) -> (usize, usize, usize) {
    session.truncate(0);
    session.push_text("Once upon a time, in a land far away,").unwrap();
    let (mut most, mut adding, mut steps) = (0, 0, 0);
    let mut place = session.tokens().len();
    let mut answer = session.generate(sampling).max_tokens(2 * BLOCK).ignore_end();
    loop {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let token = answer.next().transpose().unwrap();
        let now = ALLOCATIONS.load(Ordering::Relaxed) - before;
        let Some(_token) = token else { break };
        // This step fed the token at `place - 1` and chose the one at `place`. The first steps fill reused buffers to
        // their working size; a step that feeds the first token of a block adds the block.
        if (place - 1).is_multiple_of(BLOCK) {
            adding += now;
        } else if steps >= 4 {
            most = most.max(now);
        }
        place += 1;
        steps += 1;
    }
    (most, adding, steps)
}

/// Waits until nothing has been allocated for a while. A thread that starts allocates, whenever the system lets it run, and
/// a few steps of this small model may be over before that.
fn threads_have_started() {
    let mut before = usize::MAX;
    while before != ALLOCATIONS.load(Ordering::Relaxed) {
        before = ALLOCATIONS.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// One test for all cases: the counter is shared by the whole process, and tests run side by side.
#[test]
fn decoding_allocates_nothing_between_two_cache_blocks() {
    let bytes = puna::tiny::gguf(3).unwrap();
    let cases = [
        (DeviceKind::Cpu, Activations::Auto, 1),
        (DeviceKind::Cpu, Activations::F32, 1),
        (DeviceKind::Cpu, Activations::Auto, 2),
    ];
    for (device, activations, threads) in cases {
        let options = LoadOptions::default().device(device).activations(activations).threads(threads);
        let model = Model::from_bytes(bytes.clone(), &options).unwrap();
        let options = SessionOptions::default().context(4 * BLOCK);
        let mut session = model.session(&options).unwrap();
        threads_have_started();
        let plain = Sampling::default();
        let full = Sampling::default()
            .temperature(0.8)
            .top_k(40)
            .top_p(0.9)
            .min_p(0.05)
            .repetition_penalty(1.1)
            .seed(1);
        for (name, sampling) in [("greedy", plain), ("sampled", full)] {
            let (most, adding, steps) = while_decoding(&mut session, &sampling);
            assert_eq!(steps, 2 * BLOCK);
            assert!(
                adding > 0 || name == "sampled",
                "the counter counts: new blocks are allocated the first time"
            );
            assert_eq!(most, 0, "allocations in one step: {name}, {activations:?}, {threads} threads");
        }
    }
}
