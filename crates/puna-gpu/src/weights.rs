//! Weight regions in GPU memory, and the windows of them that fit into one binding.

use crate::buffer::{Buffer, Span};
use crate::context::{Context, STORAGE};
use puna_core::{DeviceError, Mat, Region, Vector};

/// Rows of at most this many bytes never straddle the buffers of a region that needs several.
const OVERLAP: u64 = 1 << 20;
/// Bytes handed to the queue at once, which keeps a copy of them until the GPU has it.
const UPLOAD: usize = 4 << 20;

/// An uploaded region.
///
/// One buffer where that is allowed; else buffers that begin every `step` bytes and overlap, so that each row lies
/// wholly in one of them.
#[derive(Debug)]
pub(crate) struct Weights {
    len: u64,
    step: u64,
    pieces: Vec<Buffer>,
}

/// Rows `first .. first + rows` of a matrix, bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    pub(crate) span: Span<'a>,
    /// The first byte of row `first` in the span.
    pub(crate) base: u32,
    pub(crate) first: usize,
    pub(crate) rows: usize,
}

/// Where a run of rows lies: in which buffer of the region, from which byte to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) piece: usize,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) first: usize,
    pub(crate) rows: usize,
}

/// Copies a part of a region, and waits until the GPU has it.
fn copy(ctx: &Context, buffer: &Buffer, to: u64, part: &[u8]) -> Result<(), DeviceError> {
    let words = part.len() & !3;
    ctx.queue.write_buffer(&buffer.raw, to, &part[..words]);
    let rest = &part[words..];
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        ctx.queue.write_buffer(&buffer.raw, to + words as u64, &last);
    }
    // Starts the copy, so that no more than a few parts wait in host memory.
    ctx.queue.submit([]);
    let polled = ctx.device.poll(wgpu::PollType::wait_indefinitely());
    polled.map(|_| ()).map_err(|e| DeviceError::Lost(e.to_string()))
}

impl Weights {
    /// Copies regions to the GPU, one after another as if they were one; the length of each but the last is a multiple of 4.
    /// Between two parts, `step` hears how many bytes have been copied and says whether to go on.
    pub(crate) fn upload(
        ctx: &Context,
        regions: &[Region],
        step: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Self, DeviceError> {
        let (len, max) = (regions.iter().map(|region| region.len() as u64).sum::<u64>(), ctx.max_buffer);
        let whole = len.next_multiple_of(4) <= max;
        let every = if whole { max } else { (max - OVERLAP.min(max / 2)) & !3 };
        let mut pieces = Vec::new();
        let (mut start, mut told) = (0, 0);
        loop {
            let end = (start + max).min(len);
            let buffer = ctx.buffer("weights", end - start, STORAGE)?;
            let mut first = 0;
            for region in regions {
                let (from, to) = (start.max(first), end.min(first + region.len() as u64));
                for at in (from..to).step_by(UPLOAD) {
                    // Buffers that overlap begin before the one before them ends.
                    told = told.max(at);
                    if at > 0 && !step(told) {
                        return Err(DeviceError::Cancelled);
                    }
                    let part = (at - first) as usize..(to.min(at + UPLOAD as u64) - first) as usize;
                    copy(ctx, &buffer, at - start, region.bytes().get(part).unwrap_or_default())?;
                }
                first += region.len() as u64;
            }
            pieces.push(buffer);
            if end == len {
                break;
            }
            start += every;
        }
        ctx.check()?;
        Ok(Weights { len, step: every, pieces })
    }

    /// The next rows of a matrix from row `first` on: as many as fit into one binding.
    pub(crate) fn place(
        &self,
        ctx: &Context,
        op: &'static str,
        mat: &Mat,
        first: usize,
    ) -> Result<Place, DeviceError> {
        let error = DeviceError::Handle { op, what: "matrix" };
        let (count, _) = mat.stored();
        let (Some(row_bytes), Some(end)) = (mat.row_bytes(), mat.end()) else {
            return Err(error);
        };
        if end as u64 > self.len || first >= count {
            return Err(error);
        }
        let (row_bytes, stride) = (row_bytes as u64, mat.stride as u64);
        let start = mat.offset as u64 + first as u64 * stride;
        // The last buffer that begins at or before the row holds the most after it.
        let piece = (start / self.step).min(self.pieces.len() as u64 - 1);
        let local = start - piece * self.step;
        let buffer = self.pieces.get(piece as usize).ok_or(error)?;
        let limit = buffer.raw.size().min(local / ctx.align * ctx.align + ctx.max_binding);
        let Some(room) = limit.checked_sub(local + row_bytes) else {
            let most = ctx.max_binding.min(OVERLAP);
            return Err(DeviceError::Range {
                op,
                what: "bytes of a matrix row",
                limit: most,
                found: row_bytes,
            });
        };
        let rows = ((count - first) as u64).min(room.checked_div(stride).unwrap_or(0) + 1);
        let end = local + (rows - 1) * stride + row_bytes;
        Ok(Place { piece: piece as usize, start: local, end, first, rows: rows as usize })
    }

    /// The first `rows` of the rows at a place, bound.
    pub(crate) fn window(&self, ctx: &Context, mat: &Mat, place: Place, rows: usize) -> Window<'_> {
        let rows = rows.min(place.rows);
        let end = place.end - ((place.rows - rows) * mat.stride) as u64;
        let (span, base) = self.span(ctx, place.piece, place.start, end);
        Window { span, base, first: place.first, rows }
    }

    /// Rows `first .. first + rows` of a matrix as a window of uniforms; `None` if they do not fit into one.
    pub(crate) fn uniform(
        &self,
        ctx: &Context,
        op: &'static str,
        mat: &Mat,
        (first, rows): (usize, usize),
    ) -> Result<Option<(Span<'_>, u32)>, DeviceError> {
        let (Some(align), place) = (ctx.windows(), self.place(ctx, op, mat, first)?) else {
            return Ok(None);
        };
        if place.rows < rows {
            return Ok(None);
        }
        let end = place.end - ((place.rows - rows) * mat.stride) as u64;
        Ok(self.pieces.get(place.piece).and_then(|buffer| Span::window(buffer, place.start, end, align)))
    }

    /// A span that covers the bytes `start .. end` of one of the buffers, and the index of `start` in it.
    pub(crate) fn span(&self, ctx: &Context, piece: usize, start: u64, end: u64) -> (Span<'_>, u32) {
        Span::bytes(&self.pieces[piece], start, end, ctx.align)
    }

    /// All rows of a matrix, in windows.
    pub(crate) fn windows<'a>(
        &'a self,
        ctx: &'a Context,
        op: &'static str,
        mat: &'a Mat,
    ) -> impl Iterator<Item = Result<Window<'a>, DeviceError>> {
        let mut first = 0;
        core::iter::from_fn(move || {
            if first >= mat.stored().0 {
                return None;
            }
            let place = self.place(ctx, op, mat, first);
            first = place.as_ref().map_or(usize::MAX, |p| p.first + p.rows);
            Some(place.map(|p| self.window(ctx, mat, p, p.rows)))
        })
    }

    /// A vector as a window of uniforms, and the index of its first byte in it; `None` where that is not possible.
    pub(crate) fn uniform_vector(&self, ctx: &Context, v: Vector) -> Option<(Span<'_>, u32)> {
        let align = ctx.windows()?;
        let (start, bytes) = (v.offset.checked_mul(4)? as u64, v.len.checked_mul(4)? as u64);
        let piece = (start / self.step).min((self.pieces.len() as u64).checked_sub(1)?);
        let buffer = self.pieces.get(piece as usize)?;
        let local = start - piece * self.step;
        let held = start.checked_add(bytes)? <= self.len && local + bytes <= buffer.raw.size();
        if held { Span::window(buffer, local, local + bytes, align) } else { None }
    }

    /// A vector, and the index of its first element in the span.
    pub(crate) fn vector(
        &self,
        ctx: &Context,
        op: &'static str,
        v: Vector,
    ) -> Result<(Span<'_>, u32), DeviceError> {
        let error = DeviceError::Handle { op, what: "vector" };
        let start = v.offset.checked_mul(4).ok_or(error.clone())? as u64;
        let end = v.len.checked_mul(4).and_then(|n| start.checked_add(n as u64)).ok_or(error.clone())?;
        if end > self.len {
            return Err(error);
        }
        let piece = (start / self.step).min(self.pieces.len() as u64 - 1);
        let (local, local_end) = (start - piece * self.step, end - piece * self.step);
        let buffer = self.pieces.get(piece as usize).ok_or(error)?;
        let limit = buffer.raw.size().min(local / ctx.align * ctx.align + ctx.max_binding);
        if local_end > limit {
            let (limit, found) = (limit / 4, v.len as u64);
            return Err(DeviceError::Range { op, what: "vector length", limit, found });
        }
        let (span, before) = Span::bytes(buffer, local, local_end, ctx.align);
        Ok((span, before / 4))
    }
}
