//! An op as the device that runs it knows its operands.

use super::split;
use crate::ops::{
    AddRows, Attend, AttendAll, CopyRows, EmbedRows, ExpertFfn, Gelu, KvAppend, LayerNorm, MatMul, Picks,
    PixelShuffle, QkPrepare, RmsNorm, Rope, Rope2d, Route, SwiGlu, TopK,
};
use crate::{Buf, DeviceError, Expert, KvView, Mat, Op, Rows, Vector, Weight};
use alloc::vec::Vec;

/// Lists of the op under way, kept so that issuing allocates nothing once they are long enough.
#[derive(Debug, Default)]
pub(super) struct Local {
    blocks: Vec<Buf>,
    experts: Vec<Expert>,
}

/// Takes places out of handles, which must all have the same.
struct Strip {
    op: &'static str,
    place: Option<usize>,
}

impl Strip {
    fn handle(&mut self, handle: u32) -> Result<u32, DeviceError> {
        let (place, handle) = split(handle);
        match *self.place.get_or_insert(place) == place {
            true => Ok(handle),
            false => Err(DeviceError::Handle { op: self.op, what: "an operand at another place" }),
        }
    }

    fn buf(&mut self, buf: Buf) -> Result<Buf, DeviceError> {
        self.handle(buf.0).map(Buf)
    }

    fn rows(&mut self, rows: Rows) -> Result<Rows, DeviceError> {
        Ok(Rows { buf: self.buf(rows.buf)?, ..rows })
    }

    fn vector(&mut self, v: Vector) -> Result<Vector, DeviceError> {
        Ok(Vector { weight: Weight(self.handle(v.weight.0)?), ..v })
    }

    fn mat(&mut self, mat: &Mat) -> Result<Mat, DeviceError> {
        let weight = Weight(self.handle(mat.weight.0)?);
        let scale = mat.scale.map(|v| self.vector(v)).transpose()?;
        Ok(Mat { weight, scale, ..*mat })
    }

    fn picks(&mut self, picks: Picks) -> Result<Picks, DeviceError> {
        Ok(Picks { ids: self.buf(picks.ids)?, scores: self.buf(picks.scores)?, ..picks })
    }

    fn kv<'b>(&mut self, kv: &KvView<'_>, blocks: &'b mut Vec<Buf>) -> Result<KvView<'b>, DeviceError> {
        blocks.clear();
        let bytes = size_of_val(kv.blocks) as u64;
        blocks.try_reserve(kv.blocks.len()).map_err(|_| DeviceError::OutOfMemory { bytes })?;
        for &block in kv.blocks {
            blocks.push(self.buf(block)?);
        }
        Ok(KvView { blocks, ..*kv })
    }

    fn experts<'b>(
        &mut self,
        experts: &[Expert],
        into: &'b mut Vec<Expert>,
    ) -> Result<&'b [Expert], DeviceError> {
        into.clear();
        let bytes = size_of_val(experts) as u64;
        into.try_reserve(experts.len()).map_err(|_| DeviceError::OutOfMemory { bytes })?;
        for e in experts {
            into.push(Expert { gate: self.mat(&e.gate)?, up: self.mat(&e.up)?, down: self.mat(&e.down)? });
        }
        Ok(into)
    }
}

impl Local {
    /// Calls `run` with the place of an op and the op in that device's handles.
    ///
    /// # Errors
    /// [`DeviceError::Handle`] when its operands are at several places; those of `run`.
    pub(super) fn with(
        &mut self,
        op: &Op<'_>,
        mut run: impl FnMut(usize, &Op<'_>) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let Local { blocks, experts } = self;
        let s = &mut Strip { op: op.name(), place: None };
        let (a, b);
        let kv;
        let local: Op<'_> = match op {
            Op::EmbedRows(op) => {
                a = s.mat(op.table)?;
                EmbedRows { table: &a, tokens: op.tokens, out: s.rows(op.out)? }.into()
            }
            Op::RmsNorm(op) => {
                RmsNorm { x: s.rows(op.x)?, weight: s.vector(op.weight)?, out: s.rows(op.out)?, ..*op }.into()
            }
            Op::MatMul(op) => {
                a = s.mat(op.w)?;
                let bias = op.bias.map(|v| s.vector(v)).transpose()?;
                MatMul { x: s.rows(op.x)?, w: &a, bias, out: s.rows(op.out)?, add: op.add }.into()
            }
            Op::QkPrepare(op) => {
                let rope = op.rope.map(|r| Ok(Rope { inv_freq: s.vector(r.inv_freq)?, ..r })).transpose()?;
                QkPrepare { x: s.rows(op.x)?, rope, ..*op }.into()
            }
            Op::KvAppend(op) => {
                kv = s.kv(op.kv, blocks)?;
                KvAppend { k: s.rows(op.k)?, v: s.rows(op.v)?, kv: &kv, pos: op.pos }.into()
            }
            Op::Attend(op) => {
                kv = s.kv(op.kv, blocks)?;
                Attend { q: s.rows(op.q)?, kv: &kv, out: s.rows(op.out)?, ..*op }.into()
            }
            Op::SwiGlu(op) => {
                (a, b) = (s.mat(op.gate)?, s.mat(op.up)?);
                SwiGlu { x: s.rows(op.x)?, gate: &a, up: &b, out: s.rows(op.out)? }.into()
            }
            Op::Route(op) => {
                a = s.mat(op.router)?;
                Route { x: s.rows(op.x)?, router: &a, picks: s.picks(op.picks)?, ..*op }.into()
            }
            Op::ExpertFfn(op) => {
                let experts = s.experts(op.experts, experts)?;
                ExpertFfn { x: s.rows(op.x)?, experts, picks: s.picks(op.picks)?, out: s.rows(op.out)? }
                    .into()
            }
            Op::LayerNorm(op) => {
                let (weight, bias) = (s.vector(op.weight)?, s.vector(op.bias)?);
                LayerNorm { x: s.rows(op.x)?, weight, bias, out: s.rows(op.out)?, ..*op }.into()
            }
            Op::Gelu(op) => Gelu { x: s.rows(op.x)? }.into(),
            Op::AddRows(op) => AddRows { x: s.rows(op.x)?, table: s.vector(op.table)? }.into(),
            Op::Rope2d(op) => Rope2d { x: s.rows(op.x)?, inv_freq: s.vector(op.inv_freq)?, ..*op }.into(),
            Op::AttendAll(op) => {
                let (q, k, v) = (s.rows(op.q)?, s.rows(op.k)?, s.rows(op.v)?);
                AttendAll { q, k, v, out: s.rows(op.out)?, ..*op }.into()
            }
            Op::PixelShuffle(op) => PixelShuffle { x: s.rows(op.x)?, out: s.rows(op.out)?, ..*op }.into(),
            Op::TopK(op) => TopK { x: s.rows(op.x)?, out: s.rows(op.out)?, k: op.k }.into(),
            Op::CopyRows(op) => CopyRows { from: s.rows(op.from)?, to: s.rows(op.to)?, add: op.add }.into(),
        };
        run(s.place.unwrap_or(0), &local)
    }
}
