//! Buffers, and the parts of them that kernels bind.

use crate::context::Context;
use puna_core::{DeviceError, Elem, Rows};
use puna_shaders::Kernel;

/// A buffer in GPU memory. Clones are the same buffer.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    pub(crate) raw: wgpu::Buffer,
    /// Never given twice by a context.
    pub(crate) id: u64,
}

/// Part of a buffer as it is bound: the offset is aligned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<'a> {
    pub(crate) buffer: &'a Buffer,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

impl<'a> Span<'a> {
    /// The bytes `start .. end` of a buffer, and how many bytes the span begins before them.
    pub(crate) fn bytes(buffer: &'a Buffer, start: u64, end: u64, align: u64) -> (Self, u32) {
        let offset = start / align * align;
        // Kernels may read whole vectors of 16 bytes.
        let size = (end - offset).next_multiple_of(16).max(16).min(buffer.raw.size() - offset);
        (Span { buffer, offset, size }, (start - offset) as u32)
    }

    /// A window of uniforms that holds the bytes `start .. end` of a buffer, and the index of `start` in it; `None` if they
    /// do not fit.
    pub(crate) fn window(buffer: &'a Buffer, start: u64, end: u64, align: u64) -> Option<(Self, u32)> {
        let size = Kernel::WINDOW;
        let last = buffer.raw.size().checked_sub(size)? / align * align;
        let offset = (start / align * align).min(last);
        (end <= offset + size).then(|| (Span { buffer, offset, size }, (start - offset) as u32))
    }

    /// A whole buffer.
    pub(crate) fn whole(buffer: &'a Buffer) -> Self {
        Span { buffer, offset: 0, size: buffer.raw.size() }
    }
}

/// A buffer that a [`Buf`](puna_core::Buf) names.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) buffer: Buffer,
    pub(crate) elem: Elem,
    pub(crate) len: usize,
}

/// F32 rows somewhere in a buffer, without gaps: an operand of a kernel.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(crate) buffer: Buffer,
    /// First element.
    pub(crate) offset: usize,
    pub(crate) width: usize,
}

impl Operand {
    /// Rows from the start of a buffer.
    pub(crate) fn new(buffer: Buffer, width: usize) -> Self {
        Operand { buffer, offset: 0, width }
    }

    /// The rows from row `first` on.
    pub(crate) fn skip_rows(&self, first: usize) -> Self {
        Operand { offset: self.offset + first * self.width, ..self.clone() }
    }

    /// What to bind for `rows` rows, and the first element's index in it.
    pub(crate) fn span(&self, ctx: &Context, rows: usize) -> (Span<'_>, u32) {
        let start = self.offset as u64 * 4;
        let end = start + (rows * self.width) as u64 * 4;
        let (span, before) = Span::bytes(&self.buffer, start, end, ctx.align);
        (span, before / 4)
    }
}

/// F32 rows of a named buffer, or an error that names the operand.
pub(crate) fn f32_rows(
    buffers: &[Option<Stored>],
    op: &'static str,
    what: &'static str,
    rows: &Rows,
) -> Result<Operand, DeviceError> {
    let len = rows.n_rows.checked_mul(rows.width);
    let end = len.and_then(|len| rows.offset.checked_add(len));
    match (buffers.get(rows.buf.0 as usize), end) {
        (Some(Some(stored)), Some(end)) if stored.elem == Elem::F32 && end <= stored.len => {
            Ok(Operand { buffer: stored.buffer.clone(), offset: rows.offset, width: rows.width })
        }
        _ => Err(DeviceError::Handle { op, what }),
    }
}
