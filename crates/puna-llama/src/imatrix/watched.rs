//! A device that looks at the activations on their way into another one.

use super::Entry;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use puna_core::ops::{ExpertFfn, MatMul, Picks, Route, SwiGlu};
use puna_core::reference::choose;
use puna_core::{Buf, Device, DeviceError, DeviceInfo, Elem, Mat, Op, Place, Region, Rows, Weight};

/// Which matrix of which tensor lies where on the device.
pub(super) type Places = BTreeMap<(u32, usize), (usize, usize)>;

/// The key of a matrix in [`Places`].
pub(super) fn place(mat: &Mat) -> (u32, usize) {
    (mat.weight.0, mat.offset)
}

/// Passes everything on to `device`, and adds the squares of what matrices meet to their entries. Routed experts are
/// computed one by one, so that what is inside them can be seen: the sums are those of [`ExpertFfn`].
pub(super) struct Watched<'a> {
    pub(super) device: &'a mut dyn Device,
    pub(super) places: &'a Places,
    pub(super) entries: &'a mut [(String, Entry)],
    /// Buffers by their order of use, and how long they are.
    buffers: [Option<(Buf, usize)>; 3],
    /// What the last router chose: ids and scores, `top_k` a row.
    chosen: (Vec<u32>, Vec<f32>),
}

impl<'a> Watched<'a> {
    pub(super) fn new(
        device: &'a mut dyn Device,
        places: &'a Places,
        entries: &'a mut [(String, Entry)],
    ) -> Self {
        Watched { device, places, entries, buffers: [None; 3], chosen: (Vec::new(), Vec::new()) }
    }

    /// Reads rows to the host.
    fn values(&mut self, rows: &Rows) -> Result<Vec<f32>, DeviceError> {
        let mut values = zeros(rows.len())?;
        self.device.read(rows, &mut values)?;
        Ok(values)
    }

    /// `mat` meets these rows.
    fn meet(&mut self, mat: &Mat, rows: &[f32]) {
        if let Some(&(entry, number)) = self.places.get(&place(mat))
            && let Some((_, entry)) = self.entries.get_mut(entry)
        {
            entry.add(number, rows);
        }
    }

    /// Whether anybody wants to know what this matrix meets.
    fn wants(&self, mat: &Mat) -> bool {
        self.places.contains_key(&place(mat))
    }

    /// Rows in buffer number `i`, which grows as needed.
    fn rows(&mut self, i: usize, n_rows: usize, width: usize) -> Result<Rows, DeviceError> {
        let len = n_rows.saturating_mul(width);
        let Some(slot) = self.buffers.get_mut(i) else {
            return Err(DeviceError::Handle { op: "ExpertFfn", what: "buffer" });
        };
        let buf = match *slot {
            Some((buf, held)) if held >= len => buf,
            held => {
                if let Some((buf, _)) = held {
                    self.device.free(buf);
                }
                *slot = None;
                let buf = self.device.alloc(Elem::F32, len)?;
                *slot = Some((buf, len));
                buf
            }
        };
        Ok(Rows::new(buf, n_rows, width))
    }

    fn route(&mut self, op: &Route<'_>) -> Result<(), DeviceError> {
        self.device.issue(&Op::Route(op.clone()))?;
        let x = self.values(&op.x)?;
        self.meet(op.router, &x);
        let (n, n_experts, top_k) = (op.x.n_rows, op.router.n_out, op.picks.top_k);
        // Ids cannot be read back, so they are chosen again.
        let out = self.rows(0, n, n_experts)?;
        self.device.issue(&MatMul { x: op.x, w: op.router, bias: None, out, add: false }.into())?;
        let logits = self.values(&out)?;
        let mut chosen = (Vec::new(), zeros(n.saturating_mul(top_k))?);
        chosen.0.try_reserve_exact(chosen.1.len()).map_err(|_| refused(chosen.1.len()))?;
        chosen.0.resize(chosen.1.len(), 0);
        let picks = chosen.0.chunks_exact_mut(top_k).zip(chosen.1.chunks_exact_mut(top_k));
        for (logits, (ids, scores)) in logits.chunks_exact(n_experts.max(1)).zip(picks) {
            let (ids, scores) = Picks::of_router(op.always, ids, scores);
            choose(logits, ids, scores);
        }
        self.chosen = chosen;
        Ok(())
    }

    /// The rows that chose expert `e`, with its score.
    fn choices(&self, e: usize, picks: Picks) -> impl Iterator<Item = (usize, f32)> {
        let (ids, scores) = &self.chosen;
        let rows = ids.iter().zip(scores).enumerate();
        rows.filter(move |(_, (id, _))| **id as usize == e)
            .map(move |(i, (_, s))| (i / picks.top_k.max(1), *s))
    }

    fn experts(&mut self, op: &ExpertFfn<'_>) -> Result<(), DeviceError> {
        Op::ExpertFfn(op.clone()).check()?;
        let (x, mut sum) = (self.values(&op.x)?, self.values(&op.out)?);
        let width = op.x.width.max(1);
        for (e, expert) in op.experts.iter().enumerate() {
            let rows: Vec<(usize, f32)> = self.choices(e, op.picks).collect();
            if rows.is_empty() {
                continue;
            }
            let mut scaled = zeros(rows.len() * width)?;
            for (to, (row, score)) in scaled.chunks_exact_mut(width).zip(&rows) {
                let from = x.chunks_exact(width).nth(*row).unwrap_or_default();
                to.iter_mut().zip(from).for_each(|(to, x)| *to = score * x);
            }
            self.meet(&expert.gate, &scaled);
            self.meet(&expert.up, &scaled);
            let into = self.rows(0, rows.len(), width)?;
            self.device.write(into.buf, into.offset, &scaled)?;
            let inner = self.rows(1, rows.len(), expert.gate.n_out)?;
            self.device.issue(&SwiGlu { x: into, gate: &expert.gate, up: &expert.up, out: inner }.into())?;
            let met = self.values(&inner)?;
            self.meet(&expert.down, &met);
            let out = self.rows(2, rows.len(), expert.down.n_out)?;
            self.device.issue(&MatMul { x: inner, w: &expert.down, bias: None, out, add: false }.into())?;
            let values = self.values(&out)?;
            for (from, (row, _)) in values.chunks_exact(width).zip(&rows) {
                if let Some(to) = sum.chunks_exact_mut(width).nth(*row) {
                    to.iter_mut().zip(from).for_each(|(to, y)| *to += y);
                }
            }
        }
        self.device.write(op.out.buf, op.out.offset, &sum)
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        for (buf, _) in self.buffers.iter().flatten() {
            self.device.free(*buf);
        }
    }
}

impl Device for Watched<'_> {
    fn info(&self) -> DeviceInfo {
        self.device.info()
    }

    fn load(&mut self, region: &Region) -> Result<Weight, DeviceError> {
        self.device.load(region)
    }

    fn alloc(&mut self, elem: Elem, len: usize) -> Result<Buf, DeviceError> {
        self.device.alloc(elem, len)
    }

    fn load_at(&mut self, place: Place, region: &Region) -> Result<Weight, DeviceError> {
        self.device.load_at(place, region)
    }

    fn alloc_at(&mut self, place: Place, elem: Elem, len: usize) -> Result<Buf, DeviceError> {
        self.device.alloc_at(place, elem, len)
    }

    fn free(&mut self, buf: Buf) {
        self.device.free(buf);
    }

    fn write(&mut self, to: Buf, at: usize, values: &[f32]) -> Result<(), DeviceError> {
        self.device.write(to, at, values)
    }

    fn issue(&mut self, op: &Op<'_>) -> Result<(), DeviceError> {
        match op {
            Op::Route(op) => return self.route(op),
            Op::ExpertFfn(op) => return self.experts(op),
            Op::MatMul(MatMul { x, w, .. }) if self.wants(w) => {
                let x = self.values(x)?;
                self.meet(w, &x);
            }
            Op::SwiGlu(SwiGlu { x, gate, up, .. }) => {
                let x = self.values(x)?;
                self.meet(gate, &x);
                self.meet(up, &x);
            }
            _ => {}
        }
        self.device.issue(op)
    }

    fn read(&mut self, from: &Rows, into: &mut [f32]) -> Result<(), DeviceError> {
        self.device.read(from, into)
    }

    fn fork(&self) -> Result<Box<dyn Device>, DeviceError> {
        self.device.fork()
    }
}

fn zeros(len: usize) -> Result<Vec<f32>, DeviceError> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| refused(len))?;
    values.resize(len, 0.0);
    Ok(values)
}

fn refused(len: usize) -> DeviceError {
    DeviceError::out_of_memory(Elem::F32, len)
}
