//! The reference as a device.

use super::*;
use crate::ops::{Attend, ExpertFfn, KvAppend, MatMul, Op, Picks, QkPrepare, Route, SwiGlu};
use crate::quant::QuantError;
use crate::{Buf, DType, Device, DeviceError, DeviceInfo, Elem, KvView, Mat, Region, Rows, Vector, Weight};
use alloc::boxed::Box;
use alloc::vec::Vec;
use half::f16;

/// Runs the scalar reference. Slow, exact, and available everywhere.
#[derive(Clone, Debug, Default)]
pub struct RefDevice {
    weights: Vec<Region>,
    buffers: Vec<Storage>,
}

#[derive(Clone, Debug, Default)]
enum Storage {
    #[default]
    Free,
    F32(Vec<f32>),
    F16(Vec<f16>),
    U32(Vec<u32>),
}

impl RefDevice {
    /// A device that holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    fn vector(&self, op: &'static str, v: Vector) -> Result<Vec<f32>, DeviceError> {
        let handle = DeviceError::Handle { op, what: "vector" };
        let region = self.weights.get(v.weight.0 as usize).ok_or(handle.clone())?;
        let end = v.offset.checked_add(v.len).and_then(|n| n.checked_mul(4)).ok_or(handle.clone())?;
        let bytes = region.bytes().get(v.offset * 4..end).ok_or(handle)?;
        Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    fn mat<'a>(
        &'a self,
        op: &'static str,
        mat: &'a Mat,
        scale: &'a Option<Vec<f32>>,
    ) -> Result<MatData<'a>, DeviceError> {
        let region = self.weights.get(mat.weight.0 as usize);
        match region.map(Region::bytes) {
            Some(bytes) if mat.end().is_some_and(|end| end <= bytes.len()) => {
                Ok(MatData { mat, bytes, scale: scale.as_deref() })
            }
            _ => Err(DeviceError::Handle { op, what: "matrix" }),
        }
    }

    fn scale(&self, op: &'static str, mat: &Mat) -> Result<Option<Vec<f32>>, DeviceError> {
        mat.scale.map(|v| self.vector(op, v)).transpose()
    }

    fn f32s(&self, op: &'static str, rows: &Rows) -> Result<&[f32], DeviceError> {
        match self.buffers.get(rows.buf.0 as usize) {
            Some(Storage::F32(v)) => v.get(rows.offset..rows.offset + rows.len()),
            _ => None,
        }
        .ok_or(DeviceError::Handle { op, what: "input rows" })
    }

    /// Takes the whole buffer of `rows` out, so that inputs can be read while it is written; [`put`](Self::put) gives it back.
    fn take(&mut self, op: &'static str, rows: &Rows) -> Result<Vec<f32>, DeviceError> {
        let error = DeviceError::Handle { op, what: "output rows" };
        let storage = self.buffers.get_mut(rows.buf.0 as usize).ok_or(error.clone())?;
        match storage {
            Storage::F32(v) if rows.offset + rows.len() <= v.len() => Ok(core::mem::take(v)),
            _ => Err(error),
        }
    }

    fn put(&mut self, rows: &Rows, values: Vec<f32>) {
        if let Some(storage) = self.buffers.get_mut(rows.buf.0 as usize) {
            *storage = Storage::F32(values);
        }
    }

    /// Runs `f` on the elements of `out`, which is taken from the table meanwhile.
    fn with_out(
        &mut self,
        op: &'static str,
        out: &Rows,
        f: impl FnOnce(&Self, &mut [f32]) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let mut values = self.take(op, out)?;
        let result = f(self, &mut values[out.offset..out.offset + out.len()]);
        self.put(out, values);
        result
    }

    fn block(&self, op: &'static str, kv: &KvView<'_>, b: usize) -> Result<&Storage, DeviceError> {
        let storage = kv.blocks.get(b).and_then(|buf| self.buffers.get(buf.0 as usize));
        match (storage, kv.elem) {
            (Some(s @ Storage::F32(v)), Elem::F32) if v.len() >= kv.block_len() => Ok(s),
            (Some(s @ Storage::F16(v)), Elem::F16) if v.len() >= kv.block_len() => Ok(s),
            _ => Err(DeviceError::Handle { op, what: "key/value block" }),
        }
    }

    fn matmul(&mut self, op: &MatMul<'_>) -> Result<(), DeviceError> {
        const OP: &str = "MatMul";
        self.with_out(OP, &op.out, |d, out| {
            let (scale, bias) = (d.scale(OP, op.w)?, op.bias.map(|b| d.vector(OP, b)).transpose()?);
            let w = d.mat(OP, op.w, &scale)?;
            matmul(d.f32s(OP, &op.x)?, &w, bias.as_deref(), out, op.add)
                .map_err(|e| unsupported(OP, op.w.dtype, e))
        })
    }

    fn swiglu(&mut self, op: &SwiGlu<'_>) -> Result<(), DeviceError> {
        const OP: &str = "SwiGlu";
        self.with_out(OP, &op.out, |d, out| {
            let (gate_scale, up_scale) = (d.scale(OP, op.gate)?, d.scale(OP, op.up)?);
            let (gate, up) = (d.mat(OP, op.gate, &gate_scale)?, d.mat(OP, op.up, &up_scale)?);
            swiglu(d.f32s(OP, &op.x)?, &gate, &up, out).map_err(|e| unsupported(OP, op.gate.dtype, e))
        })
    }

    fn qk_prepare(&mut self, op: &QkPrepare) -> Result<(), DeviceError> {
        const OP: &str = "QkPrepare";
        let inv_freq = op.rope.map(|r| self.vector(OP, r.inv_freq)).transpose()?;
        let rope = inv_freq.as_deref().zip(op.rope.map(|r| r.pairs));
        let prep =
            HeadPrep { head_dim: op.head_dim, rope, norm_eps: op.norm_eps, temperature: op.temperature };
        self.with_out(OP, &op.x, |_, x| {
            qk_prepare(x, op.x.width, op.pos, &prep);
            Ok(())
        })
    }

    fn kv_append(&mut self, op: &KvAppend<'_>) -> Result<(), DeviceError> {
        const OP: &str = "KvAppend";
        let dims = (op.kv.n_kv_heads, op.kv.block_tokens, op.kv.head_dim);
        for (part, rows) in [op.k, op.v].iter().enumerate() {
            let values = self.f32s(OP, rows)?.to_vec();
            for (r, values) in values.chunks_exact(rows.width).enumerate() {
                let slot = (op.pos - op.kv.first) as usize + r;
                self.block(OP, op.kv, slot / dims.1)?;
                let buf = op.kv.blocks[slot / dims.1];
                match &mut self.buffers[buf.0 as usize] {
                    Storage::F32(b) => kv_append(values, part, slot % dims.1, dims, |i, v| b[i] = v),
                    Storage::F16(b) => {
                        kv_append(values, part, slot % dims.1, dims, |i, v| b[i] = f16::from_f32(v))
                    }
                    Storage::U32(_) | Storage::Free => {}
                }
            }
        }
        Ok(())
    }

    fn attend(&mut self, op: &Attend<'_>) -> Result<(), DeviceError> {
        const OP: &str = "Attend";
        let kv = op.kv;
        let dims = (kv.n_kv_heads, kv.block_tokens, kv.head_dim);
        let group = op.q.width / (kv.n_kv_heads * kv.head_dim);
        self.with_out(OP, &op.out, |d, out| {
            let q = d.f32s(OP, &op.q)?;
            let blocks = (0..kv.blocks.len()).map(|b| d.block(OP, kv, b)).collect::<Result<Vec<_>, _>>()?;
            let heads = q.chunks_exact(kv.head_dim).zip(out.chunks_exact_mut(kv.head_dim));
            for (i, (q, out)) in heads.enumerate() {
                let (r, head) = (i / (group * kv.n_kv_heads), i % (group * kv.n_kv_heads) / group);
                let load = |part, k, i| {
                    let (b, at) = attend::locate(part, head, k, kv.first, i, dims);
                    match blocks[b] {
                        Storage::F32(v) => v[at],
                        Storage::F16(v) => v[at].to_f32(),
                        Storage::U32(_) | Storage::Free => 0.0,
                    }
                };
                attend::attend(q, op.pos + r as u64, op.scale, op.window, load, out);
            }
            Ok(())
        })
    }

    /// The picks' ids and scores, `len` of each.
    fn picks(
        &mut self,
        op: &'static str,
        picks: &Picks,
        len: usize,
    ) -> Result<(Vec<u32>, Vec<f32>), DeviceError> {
        let error = DeviceError::Handle { op, what: "picks" };
        let ids = match self.buffers.get(picks.ids.0 as usize) {
            Some(Storage::U32(v)) if v.len() >= len => v.clone(),
            _ => return Err(error),
        };
        match self.buffers.get(picks.scores.0 as usize) {
            Some(Storage::F32(v)) if v.len() >= len => Ok((ids, v.clone())),
            _ => Err(error),
        }
    }

    fn route(&mut self, op: &Route<'_>) -> Result<(), DeviceError> {
        const OP: &str = "Route";
        let len = op.x.n_rows * op.picks.top_k;
        let (mut ids, mut scores) = self.picks(OP, &op.picks, len)?;
        let scale = self.scale(OP, op.router)?;
        let router = self.mat(OP, op.router, &scale)?;
        let (ids_of, scores_of) = (&mut ids[..len], &mut scores[..len]);
        route(self.f32s(OP, &op.x)?, &router, op.always, op.picks.top_k, ids_of, scores_of)
            .map_err(|e| unsupported(OP, op.router.dtype, e))?;
        self.buffers[op.picks.ids.0 as usize] = Storage::U32(ids);
        self.buffers[op.picks.scores.0 as usize] = Storage::F32(scores);
        Ok(())
    }

    fn expert_ffn(&mut self, op: &ExpertFfn<'_>) -> Result<(), DeviceError> {
        const OP: &str = "ExpertFfn";
        let len = op.x.n_rows * op.picks.top_k;
        let (ids, scores) = self.picks(OP, &op.picks, len)?;
        self.with_out(OP, &op.out, |d, out| {
            let mats = || op.experts.iter().flat_map(|e| [&e.gate, &e.up, &e.down]);
            let scales = mats().map(|m| d.scale(OP, m)).collect::<Result<Vec<_>, _>>()?;
            let mats = mats().zip(&scales).map(|(m, s)| d.mat(OP, m, s)).collect::<Result<Vec<_>, _>>()?;
            let (experts, _) = mats.as_chunks::<3>();
            let x = d.f32s(OP, &op.x)?;
            expert_ffn(x, op.x.width, experts, op.picks.top_k, &ids[..len], &scores[..len], out)
                .map_err(|e| unsupported(OP, op.experts.first().map_or(DType::F32, |e| e.gate.dtype), e))
        })
    }
}

/// A row length was proven by [`Op::check`], so what remains is a format without dequantisation.
fn unsupported(op: &'static str, dtype: DType, _: QuantError) -> DeviceError {
    DeviceError::Unsupported { op, dtype }
}

impl Device for RefDevice {
    fn info(&self) -> DeviceInfo {
        DeviceInfo { name: "reference".into(), kernels: DType::ALL.map(|t| (t, "scalar, f64 sums")).to_vec() }
    }

    fn load(&mut self, region: &Region) -> Result<Weight, DeviceError> {
        self.weights.push(region.clone());
        Ok(Weight(self.weights.len() as u32 - 1))
    }

    fn alloc(&mut self, elem: Elem, len: usize) -> Result<Buf, DeviceError> {
        fn zeros<T: Clone>(elem: Elem, zero: T, len: usize) -> Result<Vec<T>, DeviceError> {
            let mut v = Vec::new();
            v.try_reserve_exact(len).map_err(|_| DeviceError::out_of_memory(elem, len))?;
            v.resize(len, zero);
            Ok(v)
        }
        let storage = match elem {
            Elem::F32 => Storage::F32(zeros(elem, 0.0, len)?),
            Elem::F16 => Storage::F16(zeros(elem, f16::ZERO, len)?),
            Elem::U32 => Storage::U32(zeros(elem, 0, len)?),
        };
        let free = self.buffers.iter().position(|s| matches!(s, Storage::Free));
        let slot = free.unwrap_or(self.buffers.len());
        match self.buffers.get_mut(slot) {
            Some(s) => *s = storage,
            None => self.buffers.push(storage),
        }
        Ok(Buf(slot as u32))
    }

    fn free(&mut self, buf: Buf) {
        if let Some(storage) = self.buffers.get_mut(buf.0 as usize) {
            *storage = Storage::Free;
        }
    }

    fn write(&mut self, to: Buf, at: usize, values: &[f32]) -> Result<(), DeviceError> {
        let rows = Rows { buf: to, offset: at, n_rows: 1, width: values.len() };
        self.with_out("write", &rows, |_, out| {
            out.copy_from_slice(values);
            Ok(())
        })
    }

    fn issue(&mut self, op: &Op<'_>) -> Result<(), DeviceError> {
        op.check()?;
        match op {
            Op::EmbedRows(op) => self.with_out("EmbedRows", &op.out, |d, out| {
                let scale = d.scale("EmbedRows", op.table)?;
                let table = d.mat("EmbedRows", op.table, &scale)?;
                embed_rows(&table, op.tokens, out).map_err(|e| unsupported("EmbedRows", op.table.dtype, e))
            }),
            Op::RmsNorm(op) => self.with_out("RmsNorm", &op.out, |d, out| {
                rms_norm(d.f32s("RmsNorm", &op.x)?, &d.vector("RmsNorm", op.weight)?, op.eps, out);
                Ok(())
            }),
            Op::MatMul(op) => self.matmul(op),
            Op::QkPrepare(op) => self.qk_prepare(op),
            Op::KvAppend(op) => self.kv_append(op),
            Op::Attend(op) => self.attend(op),
            Op::SwiGlu(op) => self.swiglu(op),
            Op::Route(op) => self.route(op),
            Op::ExpertFfn(op) => self.expert_ffn(op),
            Op::LayerNorm(op) => self.with_out("LayerNorm", &op.out, |d, out| {
                let (weight, bias) = (d.vector("LayerNorm", op.weight)?, d.vector("LayerNorm", op.bias)?);
                layer_norm(d.f32s("LayerNorm", &op.x)?, &weight, &bias, op.eps, out);
                Ok(())
            }),
            Op::Gelu(op) => self.with_out("Gelu", &op.x, |_, x| {
                x.iter_mut().for_each(|x| *x = gelu(*x));
                Ok(())
            }),
            Op::AddRows(op) => self.with_out("AddRows", &op.x, |d, x| {
                add_rows(x, &d.vector("AddRows", op.table)?);
                Ok(())
            }),
            Op::Rope2d(op) => self.with_out("Rope2d", &op.x, |d, x| {
                rope_2d(x, op.x.width, op.grid, &d.vector("Rope2d", op.inv_freq)?);
                Ok(())
            }),
            Op::AttendAll(op) => self.with_out("AttendAll", &op.out, |d, out| {
                let rows = |rows| d.f32s("AttendAll", rows);
                let qkv = [rows(&op.q)?, rows(&op.k)?, rows(&op.v)?];
                attend_all(qkv, op.q.width, op.group, op.head_dim, op.scale, out);
                Ok(())
            }),
            Op::TopK(op) => self.with_out("TopK", &op.out, |d, out| {
                let rows = d.f32s("TopK", &op.x)?.chunks_exact(op.x.width.max(1));
                rows.zip(out.chunks_exact_mut(op.out.width)).for_each(|(x, out)| top_k(x, op.k, out));
                Ok(())
            }),
            Op::PixelShuffle(op) => self.with_out("PixelShuffle", &op.out, |d, out| {
                pixel_shuffle(d.f32s("PixelShuffle", &op.x)?, op.x.width, op.grid, op.factor, out);
                Ok(())
            }),
            Op::CopyRows(op) => self.with_out("CopyRows", &op.to, |d, to| {
                copy_rows(d.f32s("CopyRows", &op.from)?, to, op.add);
                Ok(())
            }),
        }
    }

    fn read(&mut self, from: &Rows, into: &mut [f32]) -> Result<(), DeviceError> {
        let values = self.f32s("read", from)?;
        if values.len() != into.len() {
            let (expected, found) = (values.len() as u64, into.len() as u64);
            return Err(DeviceError::Shape { op: "read", what: "host length", expected, found });
        }
        into.copy_from_slice(values);
        Ok(())
    }

    fn fork(&self) -> Result<Box<dyn Device>, DeviceError> {
        Ok(Box::new(self.clone()))
    }
}
