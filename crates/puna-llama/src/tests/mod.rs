//! Tests of the whole model, on the reference device.

mod cache;
mod formats;
mod golden;
mod images;
mod load;
mod rope;
pub(crate) mod tiny;
mod vision;
