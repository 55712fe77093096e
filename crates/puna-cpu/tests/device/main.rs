//! Every op of `CpuDevice` against the reference, on every instruction set of this machine and any number of threads.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod contract;
mod harness;
#[path = "../isas/mod.rs"]
mod isas;
mod text;
mod vision;
