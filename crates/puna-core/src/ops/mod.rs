//! The closed list of operations, shaped by Llama 4.
//!
//! An op is plain data: handles and numbers. The same value can be computed, encoded for a GPU, printed, counted by
//! [`PlanDevice`](crate::PlanDevice), or run on two devices and compared. Its meaning is the function of the same
//! name in [`reference`](mod@crate::reference).
//!
//! Outputs never alias inputs unless the op's own documentation says "in place". Activations are F32 rows.
//! [`Op::check`] proves that the dimensions of an op agree; every device calls it before it touches memory.

mod add_rows;
mod attend;
mod attend_all;
mod copy_rows;
mod embed;
mod expert;
mod gelu;
mod kv_append;
mod layer_norm;
mod matmul;
mod pixel_shuffle;
mod qk_prepare;
mod rms_norm;
mod rope_2d;
mod route;
mod swiglu;
mod top_k;

pub use add_rows::AddRows;
pub use attend::{Attend, Window};
pub use attend_all::AttendAll;
pub use copy_rows::CopyRows;
pub use embed::EmbedRows;
pub use expert::ExpertFfn;
pub use gelu::Gelu;
pub use kv_append::KvAppend;
pub use layer_norm::LayerNorm;
pub use matmul::MatMul;
pub use pixel_shuffle::PixelShuffle;
pub use qk_prepare::{Pairs, QkPrepare, Rope, Temperature};
pub use rms_norm::RmsNorm;
pub use rope_2d::Rope2d;
pub use route::{Picks, Route};
pub use swiglu::SwiGlu;
pub use top_k::TopK;

use crate::{DeviceError, Layout, Mat, Rows};

/// One operation. See the struct of each variant for shapes and meaning.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each variant is documented by the struct it holds")]
pub enum Op<'a> {
    EmbedRows(EmbedRows<'a>),
    RmsNorm(RmsNorm),
    MatMul(MatMul<'a>),
    QkPrepare(QkPrepare),
    KvAppend(KvAppend<'a>),
    Attend(Attend<'a>),
    SwiGlu(SwiGlu<'a>),
    Route(Route<'a>),
    ExpertFfn(ExpertFfn<'a>),
    LayerNorm(LayerNorm),
    Gelu(Gelu),
    AddRows(AddRows),
    Rope2d(Rope2d),
    AttendAll(AttendAll),
    PixelShuffle(PixelShuffle),
    CopyRows(CopyRows),
    TopK(TopK),
}

impl Op<'_> {
    /// The op's name, as in errors and reports.
    pub const fn name(&self) -> &'static str {
        match self {
            Op::EmbedRows(_) => "EmbedRows",
            Op::RmsNorm(_) => "RmsNorm",
            Op::MatMul(_) => "MatMul",
            Op::QkPrepare(_) => "QkPrepare",
            Op::KvAppend(_) => "KvAppend",
            Op::Attend(_) => "Attend",
            Op::SwiGlu(_) => "SwiGlu",
            Op::Route(_) => "Route",
            Op::ExpertFfn(_) => "ExpertFfn",
            Op::LayerNorm(_) => "LayerNorm",
            Op::Gelu(_) => "Gelu",
            Op::AddRows(_) => "AddRows",
            Op::Rope2d(_) => "Rope2d",
            Op::AttendAll(_) => "AttendAll",
            Op::PixelShuffle(_) => "PixelShuffle",
            Op::CopyRows(_) => "CopyRows",
            Op::TopK(_) => "TopK",
        }
    }

    /// Proves that the dimensions agree. Handles are not looked up here.
    pub fn check(&self) -> Result<(), DeviceError> {
        match self {
            Op::EmbedRows(op) => op.check(),
            Op::RmsNorm(op) => op.check(),
            Op::MatMul(op) => op.check(),
            Op::QkPrepare(op) => op.check(),
            Op::KvAppend(op) => op.check(),
            Op::Attend(op) => op.check(),
            Op::SwiGlu(op) => op.check(),
            Op::Route(op) => op.check(),
            Op::ExpertFfn(op) => op.check(),
            Op::LayerNorm(op) => op.check(),
            Op::Gelu(op) => op.check(),
            Op::AddRows(op) => op.check(),
            Op::Rope2d(op) => op.check(),
            Op::AttendAll(op) => op.check(),
            Op::PixelShuffle(op) => op.check(),
            Op::CopyRows(op) => op.check(),
            Op::TopK(op) => op.check(),
        }
    }
}

macro_rules! from_struct {
    ($($name:ident $(<$life:lifetime>)?),*) => {$(
        impl<'a> From<$name $(<$life>)?> for Op<'a> {
            fn from(op: $name $(<$life>)?) -> Self {
                Op::$name(op)
            }
        }
    )*};
}
from_struct!(
    EmbedRows<'a>,
    RmsNorm,
    MatMul<'a>,
    QkPrepare,
    KvAppend<'a>,
    Attend<'a>,
    SwiGlu<'a>,
    Route<'a>,
    ExpertFfn<'a>,
    LayerNorm,
    Gelu,
    AddRows,
    Rope2d,
    AttendAll,
    PixelShuffle,
    CopyRows,
    TopK
);

/// `found == expected`, or a shape error that says which dimension of which op.
fn expect(op: &'static str, what: &'static str, found: usize, expected: usize) -> Result<(), DeviceError> {
    if found == expected {
        Ok(())
    } else {
        Err(DeviceError::Shape { op, what, expected: expected as u64, found: found as u64 })
    }
}

/// Two operands are different buffers.
fn distinct(op: &'static str, a: Rows, b: Rows) -> Result<(), DeviceError> {
    if a.buf == b.buf { Err(DeviceError::Aliased { op }) } else { Ok(()) }
}

/// A matrix whose rows are whole blocks, do not overlap, and whose layout its format allows.
fn check_mat(op: &'static str, mat: &Mat) -> Result<(), DeviceError> {
    let (_, n) = mat.stored();
    let Some(row_bytes) = mat.row_bytes() else {
        let block = mat.dtype.block_len();
        let expected = n.next_multiple_of(block) as u64;
        return Err(DeviceError::Shape { op, what: "row length in whole blocks", expected, found: n as u64 });
    };
    if mat.stride < row_bytes {
        let (expected, found) = (row_bytes as u64, mat.stride as u64);
        return Err(DeviceError::Shape { op, what: "row stride", expected, found });
    }
    if mat.layout == Layout::InOut && !mat.dtype.is_plain() {
        return Err(DeviceError::Unsupported { op, dtype: mat.dtype });
    }
    if mat.end().is_none() {
        return Err(DeviceError::Shape {
            op,
            what: "matrix size",
            expected: usize::MAX as u64,
            found: u64::MAX,
        });
    }
    match mat.scale {
        Some(scale) => expect(op, "row scales", scale.len, mat.n_out),
        None => Ok(()),
    }
}
