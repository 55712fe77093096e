//! A device without work uses no processor time. Alone in its program, because it measures all of it.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
#![cfg(target_os = "linux")]

use puna_cpu::ThreadPool;
use std::time::{Duration, Instant};

/// Processor time of all threads of this program so far.
fn processor_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let stats = tasks.filter_map(|t| std::fs::read_to_string(t.path().join("schedstat")).ok());
    Duration::from_nanos(stats.filter_map(|s| s.split(' ').next()?.parse::<u64>().ok()).sum())
}

#[test]
fn an_idle_pool_uses_no_processor_time() {
    let pool = ThreadPool::new(4).unwrap();
    let work = || {
        let run = pool.run(16, &|_, _| {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(5) {}
        });
        assert_eq!(run, Ok(()));
    };
    work();
    assert!(processor_time() > Duration::from_millis(4), "the system tells how long threads ran");
    std::thread::sleep(Duration::from_millis(50));
    let before = processor_time();
    std::thread::sleep(Duration::from_millis(200));
    let used = processor_time() - before;
    assert!(used < Duration::from_millis(4), "{used:?} in 200 ms of idleness");
    work();
}
