//! Tests of the whole model, on the reference device.

mod cache;
mod formats;
mod golden;
pub(crate) mod tiny;
