//! How each op becomes dispatches: one file per op.

mod add_rows;
pub(crate) mod attend;
mod attend_all;
mod copy_rows;
mod embed;
pub(crate) mod expert;
mod expert_plan;
mod experts_bound;
mod gelu;
pub(crate) mod kv_append;
pub(crate) mod layer_norm;
pub(crate) mod matmul;
mod pixel_shuffle;
mod qk_append;
pub(crate) mod qk_prepare;
pub(crate) mod rms_norm;
mod rope_2d;
pub(crate) mod route;
pub(crate) mod swiglu;
mod top_k;
pub(crate) mod windowed;

use crate::buffer::{Operand, Span, Stored, f32_rows};
use crate::context::Context;
use crate::recorder::Recorder;
use crate::weights::Weights;
use puna_core::ops::Picks;
use puna_core::{DType, DeviceError, Elem, Mat, Op, Rows, Vector, Weight};
use puna_shaders::quant::{self, Format};
use std::sync::Arc;

/// "There is no such vector" in kernel parameters.
const NONE: u32 = u32::MAX;
/// Rows of one dispatch at most: grids end at 65,535, and large batches are bounded work.
const MAX_ROWS: usize = 4096;
/// Multiply-adds of one dispatch at most, if it can be split.
const MAX_WORK: u64 = 1 << 32;
/// Elements of one scratch buffer at most, if its rows can be split.
const MAX_SCRATCH: usize = 8 << 20;

/// Values of a row from which on a norm takes more threads.
const LONG_ROW: usize = 1024;

/// What recording an op needs.
pub(crate) struct Ops<'a> {
    pub(crate) ctx: &'a Context,
    pub(crate) weights: &'a [Arc<Weights>],
    pub(crate) buffers: &'a [Option<Stored>],
    pub(crate) rec: &'a mut Recorder,
}

impl<'a> Ops<'a> {
    /// Records a checked op.
    pub(crate) fn record(&mut self, op: &Op<'_>) -> Result<(), DeviceError> {
        match op {
            Op::EmbedRows(op) => self.embed_rows(op),
            Op::RmsNorm(op) => self.rms_norm(op),
            Op::MatMul(op) => self.matmul(op),
            Op::QkPrepare(op) => self.qk_prepare(op),
            Op::KvAppend(op) => self.kv_append(op),
            Op::Attend(op) => self.attend(op),
            Op::SwiGlu(op) => self.swiglu(op),
            Op::Route(op) => self.route(op),
            Op::ExpertFfn(op) => self.expert_ffn(op),
            Op::CopyRows(op) => self.copy_rows(op),
            Op::LayerNorm(op) => self.layer_norm(op),
            Op::Gelu(op) => self.gelu(op),
            Op::AddRows(op) => self.add_rows(op),
            Op::Rope2d(op) => self.rope_2d(op),
            Op::AttendAll(op) => self.attend_all(op),
            Op::PixelShuffle(op) => self.pixel_shuffle(op),
            Op::TopK(op) => self.top_k(op),
        }
    }

    fn rows(&self, op: &'static str, what: &'static str, rows: &Rows) -> Result<Operand, DeviceError> {
        f32_rows(self.buffers, op, what, rows)
    }

    fn weight(&self, op: &'static str, weight: Weight) -> Result<&'a Weights, DeviceError> {
        let found = self.weights.get(weight.0 as usize);
        found.map(Arc::as_ref).ok_or(DeviceError::Handle { op, what: "weight" })
    }

    /// A weight vector and the index of its first element in the span; the empty span and `NONE` if there is none.
    fn vector(&self, op: &'static str, vector: Option<Vector>) -> Result<(Span<'a>, u32), DeviceError> {
        match vector {
            Some(v) => self.weight(op, v.weight)?.vector(self.ctx, op, v),
            None => Ok((self.nothing(), NONE)),
        }
    }

    fn nothing(&self) -> Span<'a> {
        Span::whole(&self.ctx.nothing)
    }

    /// The buffers of ids and scores, which hold at least `len` elements.
    fn picks(
        &self,
        op: &'static str,
        picks: &Picks,
        len: usize,
    ) -> Result<(&'a Stored, &'a Stored), DeviceError> {
        let find = |buf: puna_core::Buf, elem| match self.buffers.get(buf.0 as usize) {
            Some(Some(stored)) if stored.elem == elem && stored.len >= len => Ok(stored),
            _ => Err(DeviceError::Handle { op, what: "picks" }),
        };
        Ok((find(picks.ids, Elem::U32)?, find(picks.scores, Elem::F32)?))
    }

    /// How many rows to give to one dispatch, when each costs `work` multiply-adds and reads or writes `widths` elements
    /// of its operands.
    fn row_chunk(&self, work: usize, widths: &[usize]) -> usize {
        let by_work = MAX_WORK / (work as u64).max(1);
        let widest = widths.iter().copied().max().unwrap_or(0).max(1) as u64;
        let by_size = (self.ctx.max_binding - self.ctx.align) / 4 / widest;
        by_work.min(by_size).clamp(1, MAX_ROWS as u64) as usize
    }
}

/// The shaders' name of a weight format.
fn format(op: &'static str, dtype: DType) -> Result<Format, DeviceError> {
    quant::by_name(dtype.name()).ok_or(DeviceError::Unsupported { op, dtype })
}

/// Whether the rows of a matrix that begins at `base` all begin on whole words, in a format that keeps them there.
fn aligned(format: Format, base: u32, mat: &Mat) -> bool {
    format.keeps_alignment() && base.is_multiple_of(4) && mat.stride.is_multiple_of(4)
}

/// The parts `first .. first + n` of `rows` rows, of at most `chunk` rows each.
fn chunks(rows: usize, chunk: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).step_by(chunk.max(1)).map(move |first| (first, chunk.min(rows - first)))
}

/// Two buffers of a dispatch, one of them written, must be different ones.
fn distinct(
    op: &'static str,
    a: &crate::buffer::Buffer,
    b: &crate::buffer::Buffer,
) -> Result<(), DeviceError> {
    if a.id == b.id { Err(DeviceError::Aliased { op }) } else { Ok(()) }
}
