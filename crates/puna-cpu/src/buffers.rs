//! The mutable memory of a device: a table of aligned buffers, shared between forks until somebody writes.

use alloc::sync::Arc;
use alloc::vec::Vec;
use bytemuck::{Pod, Zeroable};
use half::f16;
use puna_core::{Buf, DeviceError, Elem, Rows};

/// One cache line. Buffers are made of these, so that they are aligned for every vector width.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct Line([f32; 16]);

// SAFETY: zero bytes are the number zero in every element.
unsafe impl Zeroable for Line {}
// SAFETY: sixteen 4-byte floats fill the 64 bytes without padding, and any bits are a float.
unsafe impl Pod for Line {}

/// Zeroed memory on 64-byte boundaries that grows without aborting.
///
/// The vector has the alignment of its elements and room to move up to the next line: for that the allocator asks the
/// system for zeroed pages, which take no memory until they are touched. For a larger alignment it writes the zeros itself,
/// and a session's buffers for batches would all be resident before a first token.
#[derive(Default)]
pub(crate) struct Aligned {
    memory: Vec<f32>,
    /// Whole lines in it.
    n_lines: usize,
}

impl Aligned {
    fn zeroed(bytes: usize) -> Result<Self, DeviceError> {
        let refused = DeviceError::OutOfMemory { bytes: bytes as u64 };
        let n_lines = bytes.div_ceil(64);
        if n_lines == 0 {
            return Ok(Self::default());
        }
        let len = n_lines.checked_add(1).and_then(|n| n.checked_mul(16)).ok_or(refused.clone())?;
        let memory = bytemuck::allocation::try_zeroed_vec(len).map_err(|()| refused)?;
        Ok(Self { memory, n_lines })
    }

    fn lines(&self) -> &[Line] {
        let (_, lines, _) = bytemuck::pod_align_to(&self.memory);
        lines.get(..self.n_lines).unwrap_or_default()
    }

    fn lines_mut(&mut self) -> &mut [Line] {
        let (_, lines, _) = bytemuck::pod_align_to_mut(&mut self.memory);
        lines.get_mut(..self.n_lines).unwrap_or_default()
    }

    /// Room for `n` values. What it held is forgotten if it has to grow.
    pub(crate) fn room<T: Pod>(&mut self, n: usize) -> Result<&mut [T], DeviceError> {
        let bytes = n.checked_mul(size_of::<T>()).ok_or(DeviceError::OutOfMemory { bytes: u64::MAX })?;
        if self.n_lines < bytes.div_ceil(64) {
            // First give back what there is: the old contents are not needed.
            *self = Self::default();
            *self = Self::zeroed(bytes)?;
        }
        Ok(&mut self.values_mut()[..n])
    }

    /// All of it, as values.
    pub(crate) fn values<T: Pod>(&self) -> &[T] {
        bytemuck::cast_slice(self.lines())
    }

    /// All of it, as values.
    pub(crate) fn values_mut<T: Pod>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(self.lines_mut())
    }
}

/// One buffer.
#[derive(Clone)]
pub(crate) struct Storage {
    elem: Elem,
    len: usize,
    memory: Arc<Aligned>,
}

impl Storage {
    fn new(elem: Elem, len: usize) -> Result<Self, DeviceError> {
        let bytes = len.checked_mul(elem.bytes()).ok_or(DeviceError::out_of_memory(elem, len))?;
        Ok(Self { elem, len, memory: Arc::new(Aligned::zeroed(bytes)?) })
    }

    fn values<T: Pod>(&self, elem: Elem) -> Option<&[T]> {
        (self.elem == elem).then(|| self.memory.values().get(..self.len)).flatten()
    }

    /// The values, to be written: copies them first if a fork shares them. `None` for another element type.
    fn values_mut<T: Pod>(&mut self, elem: Elem) -> Result<Option<&mut [T]>, DeviceError> {
        if self.elem != elem {
            return Ok(None);
        }
        if Arc::get_mut(&mut self.memory).is_none() {
            let mut copy = Aligned::zeroed(self.len.saturating_mul(elem.bytes()))?;
            copy.lines_mut().copy_from_slice(self.memory.lines());
            self.memory = Arc::new(copy);
        }
        Ok(Arc::get_mut(&mut self.memory).and_then(|m| m.values_mut().get_mut(..self.len)))
    }

    pub(crate) fn f32s(&self) -> Option<&[f32]> {
        self.values(Elem::F32)
    }

    pub(crate) fn f16s(&self) -> Option<&[f16]> {
        self.values(Elem::F16)
    }

    pub(crate) fn u32s(&self) -> Option<&[u32]> {
        self.values(Elem::U32)
    }

    pub(crate) fn f32s_mut(&mut self) -> Result<Option<&mut [f32]>, DeviceError> {
        self.values_mut(Elem::F32)
    }

    pub(crate) fn f16s_mut(&mut self) -> Result<Option<&mut [f16]>, DeviceError> {
        self.values_mut(Elem::F16)
    }

    pub(crate) fn u32s_mut(&mut self) -> Result<Option<&mut [u32]>, DeviceError> {
        self.values_mut(Elem::U32)
    }
}

/// A place in the table.
#[derive(Clone, Default)]
enum Slot {
    #[default]
    Free,
    /// Lent to the op that is running, which writes to it.
    Taken,
    Full(Storage),
}

/// The table of buffers. Cloning shares their memory.
#[derive(Clone, Default)]
pub(crate) struct Buffers {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Buffers {
    pub(crate) fn alloc(&mut self, elem: Elem, len: usize) -> Result<Buf, DeviceError> {
        let storage = Slot::Full(Storage::new(elem, len)?);
        if let Some(id) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(id as usize)
        {
            *slot = storage;
            return Ok(Buf(id));
        }
        let refused = DeviceError::out_of_memory(elem, len);
        let id = u32::try_from(self.slots.len()).map_err(|_| refused.clone())?;
        // Room for every slot on the free list too, so that giving back never allocates.
        self.slots.try_reserve(1).map_err(|_| refused.clone())?;
        self.free.try_reserve(self.slots.len() + 1).map_err(|_| refused)?;
        self.slots.push(storage);
        Ok(Buf(id))
    }

    pub(crate) fn free(&mut self, buf: Buf) {
        if let Some(slot @ Slot::Full(_)) = self.slots.get_mut(buf.0 as usize) {
            *slot = Slot::Free;
            self.free.push(buf.0);
        }
    }

    pub(crate) fn get(
        &self,
        op: &'static str,
        what: &'static str,
        buf: Buf,
    ) -> Result<&Storage, DeviceError> {
        match self.slots.get(buf.0 as usize) {
            Some(Slot::Full(storage)) => Ok(storage),
            Some(Slot::Taken) => Err(DeviceError::Aliased { op }),
            Some(Slot::Free) | None => Err(DeviceError::Handle { op, what }),
        }
    }

    /// Takes a buffer out of the table, so that it can be written while others are read. Until
    /// [`put`](Self::put) gives it back, looking it up is an aliasing error.
    pub(crate) fn take(
        &mut self,
        op: &'static str,
        what: &'static str,
        buf: Buf,
    ) -> Result<Storage, DeviceError> {
        self.get(op, what, buf)?;
        match self.slots.get_mut(buf.0 as usize).map(|slot| core::mem::replace(slot, Slot::Taken)) {
            Some(Slot::Full(storage)) => Ok(storage),
            _ => Err(DeviceError::Handle { op, what }),
        }
    }

    pub(crate) fn put(&mut self, buf: Buf, storage: Storage) {
        if let Some(slot) = self.slots.get_mut(buf.0 as usize) {
            *slot = Slot::Full(storage);
        }
    }

    /// The values of F32 rows.
    pub(crate) fn rows(
        &self,
        op: &'static str,
        what: &'static str,
        rows: &Rows,
    ) -> Result<&[f32], DeviceError> {
        let values = self.get(op, what, rows.buf)?.f32s();
        values.and_then(|v| v.get(range(rows)?)).ok_or(DeviceError::Handle { op, what })
    }
}

/// The elements of `rows`, or `None` on overflow.
pub(crate) fn range(rows: &Rows) -> Option<core::ops::Range<usize>> {
    let len = rows.n_rows.checked_mul(rows.width)?;
    Some(rows.offset..rows.offset.checked_add(len)?)
}
