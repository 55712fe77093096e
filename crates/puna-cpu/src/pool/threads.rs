//! Threads that share the tasks of one job at a time, and sleep when there is none.
//!
//! A job is a number of tasks. Each worker starts with an equal share of them, in order, and takes from the others'
//! shares when its own is done, so that uneven work evens out. The caller is worker 0. It never waits for a worker
//! that has not woken up: a worker *joins* an open job, the caller *closes* it when no task is left to take, and
//! waits only for those who joined. An idle worker spins for [`SPIN`] and then parks.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};
use std::vec::Vec;

/// How long a thread without work spins before it parks: longer than the gap between two ops of a forward pass,
/// much shorter than anybody would notice on a battery.
const SPIN: Duration = Duration::from_micros(30);

/// The state word: how many workers have joined, three flags, and the number of the job.
const JOINED: u64 = 0xffff;
/// The job takes workers.
const OPEN: u64 = 1 << 16;
/// The caller sleeps until the last worker has left.
const WAITING: u64 = 1 << 17;
/// The pool is going away.
const STOP: u64 = 1 << 18;
const EPOCH: u64 = 1 << 32;

/// A pool of threads for [`CpuDevice`](crate::CpuDevice)s; share one among all models of a process.
///
/// A pool of `n` threads starts `n - 1`: the thread that calls [`run`](Self::run) is the other one. Threads are joined
/// when the pool is dropped.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// let pool = puna_cpu::ThreadPool::new(2)?;
/// let sum = AtomicUsize::new(0);
/// pool.run(100, &|task, _worker| { sum.fetch_add(task, Ordering::Relaxed); }).unwrap();
/// assert_eq!(sum.into_inner(), 4950);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct ThreadPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Held by the caller whose job it is.
    turn: Mutex<()>,
}

/// A task of a job panicked. The other tasks have run and the pool is fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskPanicked;

impl core::fmt::Display for TaskPanicked {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a task panicked on the thread pool")
    }
}

impl core::error::Error for TaskPanicked {}

type Job<'a> = &'a (dyn Fn(usize, usize) + Sync + 'a);

struct Shared {
    state: AtomicU64,
    /// Written by the holder of `turn` while the state is neither open nor joined; read by workers who have joined.
    job: UnsafeCell<Option<Job<'static>>>,
    /// One for each worker, the caller's first.
    seats: Vec<Seat>,
    panicked: AtomicBool,
    last_left: (Mutex<()>, Condvar),
}

// SAFETY: `job` is the only field that is not `Sync` by itself. It is written only between jobs, under `turn`, and the
// state word orders that write before every read (release store that opens, acquire exchange that joins) and every
// read before the next write (release decrement that leaves, acquire load that sees nobody left).
unsafe impl Sync for Shared {}
// SAFETY: the job is a shared reference to a `Sync` function, which may go to any thread.
unsafe impl Send for Shared {}

/// What belongs to one worker, on cache lines of its own.
#[repr(align(128))]
#[derive(Default)]
struct Seat {
    /// The next task of this worker's share, and the end of the share.
    next: AtomicUsize,
    end: AtomicUsize,
    parked: AtomicBool,
}

impl ThreadPool {
    /// A pool of `n_threads`, the caller's included (0 counts as 1, and more than 1024 as 1024).
    ///
    /// # Errors
    /// If the system refuses to start a thread.
    pub fn new(n_threads: usize) -> std::io::Result<Self> {
        let n = n_threads.clamp(1, 1024);
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            seats: (0..n).map(|_| Seat::default()).collect(),
            panicked: AtomicBool::new(false),
            last_left: (Mutex::new(()), Condvar::new()),
        });
        let mut pool = Self { shared, threads: Vec::new(), turn: Mutex::new(()) };
        for worker in 1..n {
            let shared = pool.shared.clone();
            // On an error `pool` is dropped, which joins the threads that have started.
            let builder = thread::Builder::new().name(std::format!("puna-{worker}"));
            pool.threads.push(builder.spawn(move || shared.serve(worker))?);
        }
        Ok(pool)
    }

    /// Number of threads that work on a job, the caller's included.
    pub fn n_threads(&self) -> usize {
        self.shared.seats.len()
    }

    /// Calls `f(task, worker)` once for each task in `0..n_tasks` and returns when all have returned.
    ///
    /// `worker` is below [`n_threads`](Self::n_threads), and no two calls with the same worker run at the same time
    /// within this job. While another thread's job has the pool (or inside a task), the calling thread does all tasks
    /// itself, as worker 0: nobody waits for somebody else's job.
    ///
    /// # Errors
    /// [`TaskPanicked`] if any task panicked; the others have run all the same.
    pub fn run(&self, n_tasks: usize, f: Job<'_>) -> Result<(), TaskPanicked> {
        let alone = n_tasks <= 1 || self.threads.is_empty();
        // The turn cannot be poisoned: nothing that may panic runs while it is held.
        let turn = if alone { None } else { self.turn.try_lock().ok() };
        let ok = match turn {
            Some(_turn) => self.share(n_tasks, f),
            None => (0..n_tasks).filter(|&task| !guarded(f, task, 0)).count() == 0,
        };
        if ok { Ok(()) } else { Err(TaskPanicked) }
    }

    /// Runs a job on all threads; the caller holds the turn.
    fn share(&self, n_tasks: usize, f: Job<'_>) -> bool {
        let shared = &*self.shared;
        let (n, mut start) = (shared.seats.len(), 0);
        for (i, seat) in shared.seats.iter().enumerate() {
            let end = start + n_tasks / n + usize::from(i < n_tasks % n);
            seat.next.store(start, Ordering::Relaxed);
            seat.end.store(end, Ordering::Relaxed);
            start = end;
        }
        shared.panicked.store(false, Ordering::Relaxed);
        // SAFETY: the lifetime is extended only as far as this call: it returns after the job is closed and all who
        // joined it have left.
        let job = unsafe { core::mem::transmute::<Job<'_>, Job<'static>>(f) };
        // SAFETY: this thread holds the turn and the last job was closed with nobody left in it, so nobody reads.
        unsafe { *shared.job.get() = Some(job) };
        let epoch = shared.state.load(Ordering::Relaxed) & !(EPOCH - 1);
        shared.state.store(epoch.wrapping_add(EPOCH) | OPEN, Ordering::SeqCst);
        for (seat, thread) in shared.seats.iter().skip(1).zip(&self.threads).take(n_tasks - 1) {
            seat.wake(thread.thread());
        }
        shared.work(0, f);
        shared.close();
        !shared.panicked.load(Ordering::Relaxed)
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.state.fetch_or(STOP, Ordering::SeqCst);
        for (seat, thread) in self.shared.seats.iter().skip(1).zip(&self.threads) {
            seat.wake(thread.thread());
        }
        for thread in self.threads.drain(..) {
            // A worker catches the panics of its tasks, so there is nothing to learn from its end.
            let _ = thread.join();
        }
    }
}

impl core::fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ThreadPool").field("n_threads", &self.n_threads()).finish_non_exhaustive()
    }
}

/// Whether the task returned.
fn guarded(f: Job<'_>, task: usize, worker: usize) -> bool {
    catch_unwind(AssertUnwindSafe(|| f(task, worker))).is_ok()
}

impl Seat {
    /// Pairs with [`Shared::wait`]: it announces that it parks and then looks at the state once more; the caller has
    /// changed the state before it looks here. One of the two sees the other.
    fn wake(&self, thread: &Thread) {
        if self.parked.load(Ordering::SeqCst) && self.parked.swap(false, Ordering::SeqCst) {
            thread.unpark();
        }
    }

    fn take(&self) -> Option<usize> {
        let end = self.end.load(Ordering::Relaxed);
        // Look before adding: an emptied share is visited by every worker, and a load does not take its cache line.
        let any = self.next.load(Ordering::Relaxed) < end;
        any.then(|| self.next.fetch_add(1, Ordering::Relaxed)).filter(|&task| task < end)
    }
}

impl Shared {
    /// The life of a worker.
    fn serve(&self, worker: usize) {
        let mut done = 0;
        loop {
            let seen = self.wait(worker, done);
            if seen & STOP != 0 {
                return;
            }
            if self.state.compare_exchange(seen, seen + 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                continue;
            }
            // SAFETY: this worker has joined an open job, so the job was written before and stays until it leaves.
            if let Some(job) = unsafe { *self.job.get() } {
                self.work(worker, job);
            }
            done = seen & !(EPOCH - 1);
            let before = self.state.fetch_sub(1, Ordering::AcqRel);
            if before & (JOINED | OPEN | WAITING) == WAITING | 1 {
                // The caller holds this mutex from before it sets `WAITING` until it sleeps.
                let _lock = self.last_left.0.lock().unwrap_or_else(PoisonError::into_inner);
                self.last_left.1.notify_one();
            }
        }
    }

    /// Waits until the state asks something of a worker that has done job `done`.
    fn wait(&self, worker: usize, done: u64) -> u64 {
        let asks = |s: u64| s & STOP != 0 || (s & OPEN != 0 && s & !(EPOCH - 1) != done);
        let parked = &self.seats[worker].parked;
        loop {
            if let Some(state) = spin_for(|| Some(self.state.load(Ordering::Acquire)).filter(|&s| asks(s))) {
                return state;
            }
            parked.store(true, Ordering::SeqCst);
            if !asks(self.state.load(Ordering::SeqCst)) {
                thread::park();
            }
            parked.store(false, Ordering::SeqCst);
        }
    }

    /// Takes tasks until none is left: its own share, then the others'.
    fn work(&self, worker: usize, job: Job<'_>) {
        let (before, after) = self.seats.split_at(worker);
        for seat in after.iter().chain(before) {
            while let Some(task) = seat.take() {
                if !guarded(job, task, worker) {
                    self.panicked.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// Lets nobody join any more and waits for those who have.
    fn close(&self) {
        self.state.fetch_and(!OPEN, Ordering::AcqRel);
        let empty = || (self.state.load(Ordering::Acquire) & JOINED == 0).then_some(());
        if spin_for(empty).is_some() {
            return;
        }
        let mut lock = self.last_left.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.state.fetch_or(WAITING, Ordering::AcqRel);
        while empty().is_none() {
            lock = self.last_left.1.wait(lock).unwrap_or_else(PoisonError::into_inner);
        }
        drop(lock);
        self.state.fetch_and(!WAITING, Ordering::AcqRel);
    }
}

/// Asks again and again, for a time.
fn spin_for<T>(ask: impl Fn() -> Option<T>) -> Option<T> {
    let mut start = None;
    loop {
        for _ in 0..32 {
            if let Some(answer) = ask() {
                return Some(answer);
            }
            core::hint::spin_loop();
        }
        if start.get_or_insert_with(Instant::now).elapsed() > SPIN {
            return None;
        }
    }
}
