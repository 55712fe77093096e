//! A device that computes nothing and counts everything: the memory plan.

use crate::ops::{ExpertFfn, Op};
use crate::{Buf, Device, DeviceError, DeviceInfo, Elem, Mat, Place, Region, Rows, Weight};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Counts what a real device would hold and do, or several devices, each at its [`Place`].
///
/// It accepts every well-formed op, checks its dimensions, and reads as zeros. Running a forward pass on it costs
/// microseconds and needs no weights in memory, so an application can ask what will fit before it loads a file.
#[derive(Clone, Debug, Default)]
pub struct PlanDevice {
    weights: Vec<Place>,
    buffers: Vec<Option<(Place, Elem, usize)>>,
    /// By place.
    tallies: Vec<Tally>,
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
    /// Bytes of rows that went to another place.
    pub moved_bytes: u64,
}

impl Tally {
    /// The sum; of the peaks too, which need not have been at one time.
    fn plus(self, other: Tally) -> Tally {
        Tally {
            weight_bytes: self.weight_bytes + other.weight_bytes,
            buffer_bytes: self.buffer_bytes + other.buffer_bytes,
            peak_buffer_bytes: self.peak_buffer_bytes + other.peak_buffer_bytes,
            ops: self.ops + other.ops,
            weight_bytes_read: self.weight_bytes_read + other.weight_bytes_read,
            kv_bytes_read: self.kv_bytes_read + other.kv_bytes_read,
            multiply_adds: self.multiply_adds + other.multiply_adds,
            moved_bytes: self.moved_bytes + other.moved_bytes,
        }
    }

    fn matrix(&mut self, mat: &Mat, rows: usize) {
        self.weight_bytes_read += mat.bytes();
        self.multiply_adds += mat.n_out as u64 * mat.n_in as u64 * rows as u64;
    }

    fn experts(&mut self, op: &ExpertFfn<'_>) {
        let jobs = (op.x.n_rows * op.picks.top_k) as u64;
        let used = jobs.min(op.experts.len() as u64);
        let Some(one) = op.experts.first() else { return };
        for mat in [&one.gate, &one.up, &one.down] {
            self.weight_bytes_read += mat.bytes() * used;
            self.multiply_adds += mat.n_out as u64 * mat.n_in as u64 * jobs;
        }
    }
}

impl PlanDevice {
    /// A device that holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counts so far, of all places.
    pub fn tally(&self) -> Tally {
        self.tallies.iter().fold(Tally::default(), |sum, &tally| sum.plus(tally))
    }

    /// The counts of one place.
    pub fn tally_at(&self, place: Place) -> Tally {
        self.tallies.get(usize::from(place.0)).copied().unwrap_or_default()
    }

    /// Forgets ops and what they read, and keeps what is held.
    pub fn reset_work(&mut self) {
        for tally in &mut self.tallies {
            let Tally { weight_bytes, buffer_bytes, peak_buffer_bytes, .. } = *tally;
            *tally = Tally { weight_bytes, buffer_bytes, peak_buffer_bytes, ..Tally::default() };
        }
    }

    fn at(&mut self, place: Place) -> &mut Tally {
        let place = usize::from(place.0);
        if place >= self.tallies.len() {
            self.tallies.resize(place + 1, Tally::default());
        }
        &mut self.tallies[place]
    }

    fn weight_place(&self, weight: Weight) -> Place {
        self.weights.get(weight.0 as usize).copied().unwrap_or_default()
    }

    fn place_of(&self, buf: Buf) -> Place {
        self.buffers.get(buf.0 as usize).copied().flatten().map_or(Place(0), |(place, ..)| place)
    }
}

impl Device for PlanDevice {
    fn info(&self) -> DeviceInfo {
        DeviceInfo { name: "plan".into(), kernels: Vec::new() }
    }

    fn load(&mut self, region: &Region) -> Result<Weight, DeviceError> {
        self.load_at(Place(0), region)
    }

    fn alloc(&mut self, elem: Elem, len: usize) -> Result<Buf, DeviceError> {
        self.alloc_at(Place(0), elem, len)
    }

    fn load_at(&mut self, place: Place, region: &Region) -> Result<Weight, DeviceError> {
        self.at(place).weight_bytes += region.len() as u64;
        self.weights.push(place);
        Ok(Weight(self.weights.len() as u32 - 1))
    }

    fn alloc_at(&mut self, place: Place, elem: Elem, len: usize) -> Result<Buf, DeviceError> {
        let tally = self.at(place);
        tally.buffer_bytes += (len as u64).saturating_mul(elem.bytes() as u64);
        tally.peak_buffer_bytes = tally.peak_buffer_bytes.max(tally.buffer_bytes);
        let slot = self.buffers.iter().position(Option::is_none).unwrap_or(self.buffers.len());
        match self.buffers.get_mut(slot) {
            Some(free) => *free = Some((place, elem, len)),
            None => self.buffers.push(Some((place, elem, len))),
        }
        Ok(Buf(slot as u32))
    }

    fn free(&mut self, buf: Buf) {
        if let Some((place, elem, len)) = self.buffers.get_mut(buf.0 as usize).and_then(Option::take) {
            self.at(place).buffer_bytes -= (len as u64).saturating_mul(elem.bytes() as u64);
        }
    }

    fn write(&mut self, _to: Buf, _at: usize, _values: &[f32]) -> Result<(), DeviceError> {
        Ok(())
    }

    fn issue(&mut self, op: &Op<'_>) -> Result<(), DeviceError> {
        op.check()?;
        let place = match op {
            Op::EmbedRows(op) => self.weight_place(op.table.weight),
            Op::RmsNorm(op) => self.place_of(op.x.buf),
            Op::MatMul(op) => self.weight_place(op.w.weight),
            Op::QkPrepare(op) => self.place_of(op.x.buf),
            Op::KvAppend(op) => self.place_of(op.k.buf),
            Op::Attend(op) => self.place_of(op.q.buf),
            Op::SwiGlu(op) => self.weight_place(op.gate.weight),
            Op::Route(op) => self.weight_place(op.router.weight),
            Op::ExpertFfn(op) => self.place_of(op.x.buf),
            Op::LayerNorm(op) => self.place_of(op.x.buf),
            Op::Gelu(op) => self.place_of(op.x.buf),
            Op::AddRows(op) => self.place_of(op.x.buf),
            Op::Rope2d(op) => self.place_of(op.x.buf),
            Op::AttendAll(op) => self.place_of(op.q.buf),
            Op::PixelShuffle(op) => self.place_of(op.x.buf),
            Op::CopyRows(op) => self.place_of(op.to.buf),
            Op::TopK(op) => self.place_of(op.x.buf),
        };
        let moved = match op {
            Op::CopyRows(op) if self.place_of(op.from.buf) != place => op.from.len() as u64 * 4,
            _ => 0,
        };
        let tally = self.at(place);
        tally.ops += 1;
        tally.moved_bytes += moved;
        match op {
            Op::EmbedRows(op) => {
                let row = op.table.row_bytes().unwrap_or(0) as u64;
                tally.weight_bytes_read += row * op.tokens.len() as u64;
            }
            Op::MatMul(op) => tally.matrix(op.w, op.x.n_rows),
            Op::SwiGlu(op) => {
                tally.matrix(op.gate, op.x.n_rows);
                tally.matrix(op.up, op.x.n_rows);
            }
            Op::Route(op) => tally.matrix(op.router, op.x.n_rows),
            Op::ExpertFfn(op) => tally.experts(op),
            Op::Attend(op) => {
                let keys = |row: u64| op.pos + row + 1 - op.window.start(op.pos + row);
                let last = op.q.n_rows.saturating_sub(1) as u64;
                let row_bytes = 2 * op.kv.n_kv_heads * op.kv.head_dim * op.kv.elem.bytes();
                let seen: u64 = (0..op.q.n_rows as u64).map(keys).sum();
                tally.kv_bytes_read += (op.pos + last + 1 - op.window.start(op.pos)) * row_bytes as u64;
                tally.multiply_adds += 2 * seen * op.q.width as u64;
            }
            Op::AttendAll(op) => {
                tally.multiply_adds += 2 * op.q.len() as u64 * op.group as u64;
            }
            Op::RmsNorm(_)
            | Op::QkPrepare(_)
            | Op::KvAppend(_)
            | Op::LayerNorm(_)
            | Op::Gelu(_)
            | Op::AddRows(_)
            | Op::Rope2d(_)
            | Op::PixelShuffle(_)
            | Op::CopyRows(_)
            | Op::TopK(_) => {}
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
