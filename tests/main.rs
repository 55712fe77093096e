//! The proof: conformance of devices, goldens, hostile files, properties, and the command from end to end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test is a panic")]

mod conformance;
mod e2e;
mod fuzzed;
mod goldens;
mod gpu;
mod hostile;
mod images;
mod properties;
mod seeds;
