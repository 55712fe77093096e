//! Matrix-product kernels, each written once over the lanes of an instruction set.

pub(crate) mod blocks;
pub(crate) mod dot;
pub(crate) mod float;
pub(crate) mod lanes;
pub(crate) mod narrow;
pub(crate) mod panel;
pub(crate) mod slab;
pub(crate) mod tile;
pub(crate) mod wide;
