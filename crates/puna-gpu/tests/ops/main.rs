//! Every op and every format on the GPU, against the scalar reference.
//!
//! These tests need an adapter (a software Vulkan such as Mesa's lavapipe will do) and fail where there is none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking"
)]

mod attention;
mod device;
mod experts;
mod failures;
mod half;
mod packed;
mod pair;
mod products;
mod rows;
mod sample;
mod traffic;
mod vision;
