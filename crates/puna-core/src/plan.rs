//! A device that computes nothing and counts everything: the memory plan.

use crate::ops::{ExpertFfn, Op};
use crate::{Buf, Device, DeviceError, DeviceInfo, Elem, Mat, Region, Rows, Weight};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Counts what a real device would hold and do.
///
/// It accepts every well-formed op, checks its dimensions, and reads as zeros. Running a forward pass on it costs
/// microseconds and needs no weights in memory, so an application can ask what will fit before it loads a file.
#[derive(Clone, Debug, Default)]
pub struct PlanDevice {
    weights: u32,
    buffers: Vec<Option<(Elem, usize)>>,
    tally: Tally,
}

/// What a [`PlanDevice`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Bytes of weights loaded.
    pub weight_bytes: u64,
    /// Bytes of buffers alive now.
    pub buffer_bytes: u64,
    /// The most bytes of buffers ever alive.
    pub peak_buffer_bytes: u64,
    /// Ops issued.
    pub ops: u64,
    /// Weight bytes read by those ops, each op reading its matrices once. Of the routed experts, as many as a batch
    /// can pick: `min(n_experts, rows * top_k)`.
    pub weight_bytes_read: u64,
    /// Bytes of cached keys and values read.
    pub kv_bytes_read: u64,
    /// Multiply-adds in matrix products and attention.
    pub multiply_adds: u64,
}

impl PlanDevice {
    /// A device that holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counts so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Forgets ops and what they read, and keeps what is held.
    pub fn reset_work(&mut self) {
        let Tally { weight_bytes, buffer_bytes, peak_buffer_bytes, .. } = self.tally;
        self.tally = Tally { weight_bytes, buffer_bytes, peak_buffer_bytes, ..Tally::default() };
    }

    fn matrix(&mut self, mat: &Mat, rows: usize) {
        self.tally.weight_bytes_read += mat.bytes();
        self.tally.multiply_adds += mat.n_out as u64 * mat.n_in as u64 * rows as u64;
    }

    fn experts(&mut self, op: &ExpertFfn<'_>) {
        let jobs = (op.x.n_rows * op.picks.top_k) as u64;
        let used = jobs.min(op.experts.len() as u64);
        let Some(one) = op.experts.first() else { return };
        for mat in [&one.gate, &one.up, &one.down] {
            self.tally.weight_bytes_read += mat.bytes() * used;
            self.tally.multiply_adds += mat.n_out as u64 * mat.n_in as u64 * jobs;
        }
    }
}

impl Device for PlanDevice {
    fn info(&self) -> DeviceInfo {
        DeviceInfo { name: "plan".into(), kernels: Vec::new() }
    }

    fn load(&mut self, region: &Region) -> Result<Weight, DeviceError> {
        self.tally.weight_bytes += region.len() as u64;
        self.weights += 1;
        Ok(Weight(self.weights - 1))
    }

    fn alloc(&mut self, elem: Elem, len: usize) -> Result<Buf, DeviceError> {
        self.tally.buffer_bytes += (len as u64).saturating_mul(elem.bytes() as u64);
        self.tally.peak_buffer_bytes = self.tally.peak_buffer_bytes.max(self.tally.buffer_bytes);
        let slot = self.buffers.iter().position(Option::is_none).unwrap_or(self.buffers.len());
        match self.buffers.get_mut(slot) {
            Some(free) => *free = Some((elem, len)),
            None => self.buffers.push(Some((elem, len))),
        }
        Ok(Buf(slot as u32))
    }

    fn free(&mut self, buf: Buf) {
        if let Some((elem, len)) = self.buffers.get_mut(buf.0 as usize).and_then(Option::take) {
            self.tally.buffer_bytes -= (len as u64).saturating_mul(elem.bytes() as u64);
        }
    }

    fn write(&mut self, _to: Buf, _at: usize, _values: &[f32]) -> Result<(), DeviceError> {
        Ok(())
    }

    fn issue(&mut self, op: &Op<'_>) -> Result<(), DeviceError> {
        op.check()?;
        self.tally.ops += 1;
        match op {
            Op::EmbedRows(op) => {
                let row = op.table.row_bytes().unwrap_or(0) as u64;
                self.tally.weight_bytes_read += row * op.tokens.len() as u64;
            }
            Op::MatMul(op) => self.matrix(op.w, op.x.n_rows),
            Op::SwiGlu(op) => {
                self.matrix(op.gate, op.x.n_rows);
                self.matrix(op.up, op.x.n_rows);
            }
            Op::Route(op) => self.matrix(op.router, op.x.n_rows),
            Op::ExpertFfn(op) => self.experts(op),
            Op::Attend(op) => {
                let keys = |row: u64| op.pos + row + 1 - op.window.start(op.pos + row);
                let last = op.q.n_rows.saturating_sub(1) as u64;
                let row_bytes = 2 * op.kv.n_kv_heads * op.kv.head_dim * op.kv.elem.bytes();
                let seen: u64 = (0..op.q.n_rows as u64).map(keys).sum();
                self.tally.kv_bytes_read += (op.pos + last + 1 - op.window.start(op.pos)) * row_bytes as u64;
                self.tally.multiply_adds += 2 * seen * op.q.width as u64;
            }
            Op::AttendAll(op) => {
                self.tally.multiply_adds += 2 * op.q.len() as u64 * op.group as u64;
            }
            Op::RmsNorm(_)
            | Op::QkPrepare(_)
            | Op::KvAppend(_)
            | Op::LayerNorm(_)
            | Op::Gelu(_)
            | Op::AddRows(_)
            | Op::Rope2d(_)
            | Op::PixelShuffle(_) => {}
        }
        Ok(())
    }

    fn read(&mut self, _from: &Rows, into: &mut [f32]) -> Result<(), DeviceError> {
        into.fill(0.0);
        Ok(())
    }

    fn fork(&self) -> Result<Box<dyn Device>, DeviceError> {
        Ok(Box::new(self.clone()))
    }
}
