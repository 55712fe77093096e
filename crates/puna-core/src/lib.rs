//! The ground that the puna runtime stands on: number formats, the closed list of operations, their scalar
//! reference, and the contract that every device keeps.
//!
//! - [`DType`] and [`quant`] say how weights are stored and what each bit means.
//! - [`ops::Op`] is the complete list of what a device can be asked to do. There is no graph and no registry.
//! - [`Device`] is the small object-safe trait through which ops are issued.
//! - [`reference`](mod@reference) holds one short, obvious function per op; it is the specification. [`RefDevice`] runs it.
//! - [`Composite`] is several devices behind one: an op runs where its operands are.
//! - [`PlanDevice`] runs nothing and counts bytes and operations: this is the memory plan.
//!
//! The crate is `no_std` with `alloc`, has no `unsafe`, and computes transcendental functions with `libm`
//! everywhere, so that the reference gives the same bits on every target.
//!
//! ```
//! use puna_core::{Device, Elem, Mat, RefDevice, Region, Rows, ops};
//!
//! let mut device = RefDevice::new();
//! // A 2 x 3 matrix in F32: out[o] = sum over i of x[i] * w[o][i].
//! let bytes: Vec<u8> = [1.0f32, 0.0, 2.0, 0.0, 1.0, 0.0].iter().flat_map(|v| v.to_le_bytes()).collect();
//! let weight = device.load(&Region::from_vec(bytes))?;
//! let w = Mat::plain(weight, puna_core::DType::F32, 2, 3);
//! let (x, out) = (device.alloc(Elem::F32, 3)?, device.alloc(Elem::F32, 2)?);
//! device.write(x, 0, &[1.0, 2.0, 3.0])?;
//! let (x, out) = (Rows::new(x, 1, 3), Rows::new(out, 1, 2));
//! device.issue(&ops::MatMul { x, w: &w, bias: None, out, add: false }.into())?;
//! let mut y = [0.0; 2];
//! device.read(&out, &mut y)?;
//! assert_eq!(y, [7.0, 2.0]);
//! # Ok::<(), puna_core::DeviceError>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")
)]

extern crate alloc;

pub mod cancel;
pub mod composite;
pub mod device;
pub mod dtype;
pub mod error;
pub mod handle;
pub mod ops;
pub mod plan;
pub mod quant;
pub mod reference;
pub mod region;

pub use cancel::Cancel;
pub use composite::Composite;
pub use device::{Device, DeviceInfo, OpTime, Place};
pub use dtype::DType;
pub use error::DeviceError;
pub use handle::{Buf, Elem, Expert, KvView, Layout, Mat, Rows, Vector, Weight};
pub use ops::Op;
pub use plan::PlanDevice;
pub use reference::RefDevice;
pub use region::Region;
