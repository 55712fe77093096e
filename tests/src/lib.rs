//! What the tests share: devices, seeded data, tolerances with their reasons, models, and the command.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    reason = "test support: it fails by panicking and speaks to the test's reader"
)]

pub mod cli;
pub mod devices;
pub mod fetched;
pub mod folder;
pub mod matrix;
pub mod npy;
pub mod seeded;
pub mod tolerance;
