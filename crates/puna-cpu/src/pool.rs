//! Work split over threads: the pool, the team of workers an op runs on, and slices shared by its tasks.

mod split;
mod team;
#[cfg(feature = "std")]
mod threads;

pub(crate) use split::Split;
pub(crate) use team::Team;
#[cfg(feature = "std")]
pub use threads::{TaskPanicked, ThreadPool};

/// The pool of a build without threads: there is none.
#[cfg(not(feature = "std"))]
#[derive(Debug)]
pub(crate) enum ThreadPool {}

#[cfg(not(feature = "std"))]
impl ThreadPool {
    fn n_threads(&self) -> usize {
        match *self {}
    }

    fn run(&self, _: usize, _: &(dyn Fn(usize, usize) + Sync)) -> Result<(), core::fmt::Error> {
        match *self {}
    }
}
