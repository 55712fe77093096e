//! The thread pool under stress.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail by panicking and print what they measure"
)]

use puna_cpu::{TaskPanicked, ThreadPool};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

/// Runs a job and checks that each task ran once and that no worker was in two tasks at the same time.
fn check(pool: &ThreadPool, n_tasks: usize, work: impl Fn(usize) + Sync) {
    let counts: Vec<AtomicUsize> = (0..n_tasks).map(|_| AtomicUsize::new(0)).collect();
    let busy: Vec<AtomicUsize> = (0..pool.n_threads()).map(|_| AtomicUsize::new(0)).collect();
    let run = pool.run(n_tasks, &|task, worker| {
        assert_eq!(busy[worker].fetch_add(1, Relaxed), 0, "worker {worker} is in two tasks");
        work(task);
        counts[task].fetch_add(1, Relaxed);
        busy[worker].fetch_sub(1, Relaxed);
    });
    assert_eq!(run, Ok(()));
    assert!(counts.iter().all(|c| c.load(Relaxed) == 1), "{n_tasks} tasks");
}

#[test]
fn every_task_runs_once() {
    for n_threads in [0, 1, 2, 3, 5, 17] {
        let pool = ThreadPool::new(n_threads).unwrap();
        assert_eq!(pool.n_threads(), n_threads.max(1));
        for n_tasks in [0, 1, 2, 3, 4, 5, 16, 1000] {
            check(&pool, n_tasks, |_| {});
        }
    }
}

#[test]
fn uneven_work_is_taken_over() {
    let pool = ThreadPool::new(2).unwrap();
    // All the long tasks are in the first worker's share. On an idle machine two threads halve the time; what must
    // hold on any machine is that the other worker takes some.
    let workers = Mutex::new([0; 2]);
    let run = pool.run(40, &|task, worker| {
        if task < 20 {
            std::thread::sleep(Duration::from_millis(2));
        }
        workers.lock().unwrap()[worker] += 1;
    });
    assert_eq!(run, Ok(()));
    let [first, second] = workers.into_inner().unwrap();
    assert!(first < 20 && second > 20, "{first} and {second} tasks");
}

#[test]
fn many_tiny_jobs() {
    let pool = ThreadPool::new(3).unwrap();
    let sum = AtomicUsize::new(0);
    for i in 0..20_000 {
        let run = pool.run(1 + i % 7, &|task, _| {
            sum.fetch_add(task, Relaxed);
        });
        assert_eq!(run, Ok(()));
    }
    let expected: usize = (0..20_000).map(|i| (1 + i % 7) * (i % 7) / 2).sum();
    assert_eq!(sum.into_inner(), expected);
}

#[test]
fn callers_at_once_do_not_wait_for_each_other() {
    let pool = Arc::new(ThreadPool::new(2).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..2000).for_each(|i| check(&pool, 1 + i % 9, |_| {})));
        }
    });
    // A job that cannot end before another caller's job has ended.
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            check(&pool, 2, |task| {
                if task == 0 {
                    barrier.wait();
                    barrier.wait();
                }
            });
        });
        barrier.wait();
        check(&pool, 100, |_| {});
        barrier.wait();
    });
}

#[test]
fn a_job_within_a_task_runs_there() {
    let pool = ThreadPool::new(3).unwrap();
    let sum = AtomicUsize::new(0);
    let inner = |task: usize, _: usize| {
        sum.fetch_add(task, Relaxed);
    };
    assert_eq!(pool.run(8, &|_, _| pool.run(10, &inner).unwrap()), Ok(()));
    assert_eq!(sum.into_inner(), 8 * 45);
}

#[test]
fn a_panic_is_an_error_and_the_rest_goes_on() {
    let pool = ThreadPool::new(3).unwrap();
    for n_tasks in [1, 50] {
        for _ in 0..20 {
            let ran = AtomicUsize::new(0);
            let run = pool.run(n_tasks, &|task, _| {
                ran.fetch_add(1, Relaxed);
                if task == n_tasks / 2 {
                    // As a panic, without its message on the terminal.
                    std::panic::resume_unwind(Box::new(()));
                }
            });
            assert_eq!(run, Err(TaskPanicked));
            assert_eq!(ran.into_inner(), n_tasks);
            check(&pool, n_tasks, |_| {});
        }
    }
}

#[test]
fn pools_come_and_go() {
    for i in 0..200 {
        let pool = ThreadPool::new(4).unwrap();
        if i % 2 == 0 {
            check(&pool, 10, |_| {});
        }
        if i % 20 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What a run of two tasks that do nothing costs; printed with `--nocapture`, checked only for its order of magnitude,
/// because the machine may be busy.
#[test]
fn an_empty_run_is_cheap() {
    let pool = ThreadPool::new(2).unwrap();
    let mut times: Vec<Duration> = (0..20_000)
        .map(|_| {
            let start = Instant::now();
            pool.run(2, &|_, _| {}).unwrap();
            start.elapsed()
        })
        .collect();
    times.sort();
    let median = times[times.len() / 2];
    std::println!("an empty run: median {median:?}, 90 % within {:?}", times[times.len() * 9 / 10]);
    assert!(median < Duration::from_micros(200), "{median:?}");
}
