//! What the machine allows to several threads at once, by the clock: reads of memory, products of bytes, multiply-adds.

use crate::{memory, peak};
use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

/// Bytes that each thread reads, over and over: past any cache.
const BYTES: usize = 256 << 20;
/// Seconds of one round; the median of five counts.
const SECONDS: f64 = 0.2;

/// Billions of whatever `work` returns a second, all threads together.
fn rate<T: Send>(threads: usize, make: impl Fn() -> T + Sync, work: impl Fn(&mut T) -> f64 + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let one = || {
        let mut state = make();
        work(&mut state);
        let mut rates = [0.0; 5];
        for rate in &mut rates {
            barrier.wait();
            let (clock, mut done) = (Instant::now(), 0.0);
            while clock.elapsed().as_secs_f64() < SECONDS {
                done += work(&mut state);
            }
            *rate = done / clock.elapsed().as_secs_f64() / 1e9;
        }
        rates
    };
    let rounds: Vec<[f64; 5]> = thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut sums: Vec<f64> = (0..5).map(|round| rounds.iter().map(|rates| rates[round]).sum()).collect();
    sums.sort_by(f64::total_cmp);
    sums[2]
}

/// Seconds that `threads` take to do `work` once each, at the same time. It is told which of them it is.
pub(crate) fn together(threads: usize, work: impl Fn(usize) + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let one = |thread: usize| {
        barrier.wait();
        let clock = Instant::now();
        work(thread);
        clock.elapsed().as_secs_f64()
    };
    let one = &one;
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).fold(0.0, f64::max)
    })
}

/// One line of JSON for each number of threads.
pub(crate) fn print(threads: &[usize]) {
    for &threads in threads {
        let bytes = || vec![1u8; BYTES];
        let read = rate(threads, bytes, |bytes| {
            memory::read(black_box(bytes));
            bytes.len() as f64
        });
        let number = |rate: Option<f64>| rate.map_or("null".into(), |rate| format!("{rate:.1}"));
        let burst = |work: &(dyn Fn() -> Option<f64> + Sync)| {
            number(work().map(|_| rate(threads, || (), |()| work().unwrap_or(0.0))))
        };
        println!(
            "{{\"threads\": {threads}, \"read_gb_s\": {read:.1}, \"bytes_gop_s\": {}, \"bf16_gflop_s\": {}, \
             \"tiles_gflop_s\": {}, \"f32_gflop_s\": {}}}",
            burst(&peak::byte_burst),
            burst(&peak::bf16_burst),
            burst(&peak::tile_burst),
            burst(&|| Some(peak::float_burst()))
        );
    }
}
