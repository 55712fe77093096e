//! The workers that an op's tasks run on, each with its own scratch memory.

use super::{Split, ThreadPool};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use puna_core::DeviceError;

/// Work below this many nanoseconds stays on the calling thread: to share it with one that still waits costs about one
/// thousand, to wake one up several.
const WORTH_SHARING: u64 = 4_000;

/// One scratch `W` per worker, and the threads they run on; without a pool everything is serial.
pub(crate) struct Team<W> {
    /// As many as the pool has threads, and at least one.
    workers: Vec<W>,
    pool: Option<Arc<ThreadPool>>,
}

impl<W: Send> Team<W> {
    /// One scratch for each thread of `pool`.
    pub(crate) fn new(
        pool: Option<Arc<ThreadPool>>,
        scratch: impl FnMut() -> Result<W, DeviceError>,
    ) -> Result<Self, DeviceError> {
        let n = pool.as_ref().map_or(1, |p| p.n_threads());
        let workers = core::iter::repeat_with(scratch).take(n).collect::<Result<_, _>>()?;
        Ok(Self { workers, pool })
    }

    /// Another team, with scratches of its own, on the same threads.
    pub(crate) fn sibling(
        &self,
        scratch: impl FnMut() -> Result<W, DeviceError>,
    ) -> Result<Self, DeviceError> {
        Self::new(self.pool.clone(), scratch)
    }

    /// Number of workers.
    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Prepares every scratch before a run.
    pub(crate) fn prepare(
        &mut self,
        f: impl FnMut(&mut W) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        self.workers.iter_mut().try_for_each(f)
    }

    /// Calls `f(task, scratch)` once for every task in `0..n_tasks`. Which worker gets which task is left to chance,
    /// so `f` must compute the same whichever it is. `cost` is a guess of all the work in nanoseconds on one thread.
    ///
    /// # Errors
    /// [`DeviceError::Lost`] if a task panicked on the pool; the other tasks have run.
    pub(crate) fn run(
        &mut self,
        n_tasks: usize,
        cost: u64,
        f: impl Fn(usize, &mut W) + Sync,
    ) -> Result<(), DeviceError> {
        if let Some(pool) = self.pool.as_ref().filter(|_| n_tasks > 1 && cost >= WORTH_SHARING) {
            let workers = Split::new(&mut self.workers);
            let run = pool.run(n_tasks, &|task, worker| {
                // SAFETY: within a job the pool runs each worker number on one thread at a time, and this job is the
                // only user of `workers`.
                if let [scratch] = unsafe { workers.part(worker..worker + 1) } {
                    f(task, scratch);
                }
            });
            return run.map_err(|e| DeviceError::Lost(e.to_string()));
        }
        if let Some(first) = self.workers.first_mut() {
            (0..n_tasks).for_each(|task| f(task, first));
        }
        Ok(())
    }

    /// Calls `f(index, chunk, scratch)` for every chunk of `len` values of `slice` (the last may be shorter).
    pub(crate) fn chunks<T: Send>(
        &mut self,
        slice: &mut [T],
        len: usize,
        cost: u64,
        f: impl Fn(usize, &mut [T], &mut W) + Sync,
    ) -> Result<(), DeviceError> {
        let (len, total) = (len.max(1), slice.len());
        let slice = Split::new(slice);
        self.run(total.div_ceil(len), cost, |i, scratch| {
            // SAFETY: chunk `i` belongs to task `i` alone, and each task runs once.
            f(i, unsafe { slice.part(i * len..total.min((i + 1) * len)) }, scratch);
        })
    }
}
