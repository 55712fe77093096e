//! The tensor table of a GGUF file: shapes, types, and byte ranges proven to be inside the file and disjoint.

use super::TensorType;
use crate::cursor::Cursor;
use crate::error::{ErrorKind, FormatError, Quoted, out_of_memory, reserve_exact, try_string};
use crate::{Named, Result, Table};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, Range};

/// The most dimensions of a tensor.
pub(super) const MAX_DIMS: usize = 4;

/// The fewest bytes of a table entry: an empty name, no dimension, type, offset.
pub(super) const MIN_BYTES: u64 = 8 + 4 + 4 + 8;

/// The dimensions of a GGUF tensor in ne order: the first is the contiguous one. Dereferences to a slice.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [u64; MAX_DIMS],
    n: usize,
}

impl Shape {
    /// The shape of these dimensions; `None` for more than four.
    pub fn new(ne: &[u64]) -> Option<Shape> {
        let mut shape = Shape { dims: [1; MAX_DIMS], n: ne.len() };
        shape.dims.get_mut(..ne.len())?.copy_from_slice(ne);
        Some(shape)
    }
}

impl Deref for Shape {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.dims[..self.n]
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A tensor of a GGUF file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorInfo {
    /// The name, unique in the file.
    pub name: String,
    /// The dimensions, none of them 0, the contiguous one first.
    pub shape: Shape,
    /// The element type.
    pub dtype: TensorType,
    /// The absolute byte range in the file.
    pub range: Range<u64>,
}

impl TensorInfo {
    /// The number of values. The reader has checked that it fits.
    pub fn n_elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// The number of bytes.
    pub fn n_bytes(&self) -> u64 {
        self.range.end - self.range.start
    }
}

impl Named for TensorInfo {
    fn name(&self) -> &str {
        &self.name
    }
}

/// Bytes of a tensor of this shape and type, each row of `ne[0]` values a whole number of blocks.
pub(super) fn n_bytes(shape: &[u64], dtype: TensorType, what: fmt::Arguments<'_>) -> Result<u64> {
    if let Some(i) = shape.iter().position(|&dim| dim == 0) {
        let found = format_args!("dimension {i} of 0 in {shape:?}");
        return Err(FormatError::new(ErrorKind::BadValue, what, "dimensions of 1 or more", found));
    }
    let (block_len, block_bytes) = (dtype.block_len(), dtype.block_bytes());
    let row = shape.first().copied().unwrap_or(1);
    if !row.is_multiple_of(block_len) {
        let expected = format_args!("rows of a multiple of {block_len} values, a block of {dtype}");
        return Err(FormatError::new(ErrorKind::BadValue, what, expected, format_args!("rows of {row}")));
    }
    let elements =
        shape.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim)).filter(|&n| i64::try_from(n).is_ok());
    elements.and_then(|n| (n / block_len).checked_mul(block_bytes)).ok_or_else(|| {
        let expected = "a number of values and bytes that fits in 64 bits";
        FormatError::new(ErrorKind::Overflow, what, expected, format_args!("dimensions {shape:?}"))
    })
}

/// Reads the table of `n` tensors; returns it with the data section's offset.
pub(super) fn table(
    cursor: &mut Cursor<'_>,
    file_len: u64,
    n: u64,
    alignment: u32,
) -> Result<(Table<TensorInfo>, u64)> {
    let mut infos: Vec<TensorInfo> = Vec::new();
    let mut declared_at: Vec<u64> = Vec::new();
    for i in 0..n {
        declared_at.try_reserve(1).map_err(|e| out_of_memory(e, "tensor table", size_of::<u64>()))?;
        infos.try_reserve(1).map_err(|e| out_of_memory(e, "tensor table", size_of::<TensorInfo>()))?;
        declared_at.push(cursor.offset());
        infos.push(entry(cursor, i, alignment)?);
    }

    let end = cursor.offset();
    // The header's end is bounded by the file's length, and the alignment is a u32: no overflow.
    let data_offset = end.next_multiple_of(alignment.into());
    for (info, &at) in infos.iter_mut().zip(&declared_at) {
        let Range { start, end } = info.range.clone();
        let absolute = data_offset.checked_add(start).zip(data_offset.checked_add(end));
        match absolute.filter(|(_, end)| *end <= file_len) {
            Some((start, end)) => info.range = start..end,
            None => {
                let room = file_len.saturating_sub(data_offset);
                let expected = format_args!("data within the {room} bytes of the data section");
                let found = format_args!("bytes {start} to {end}");
                return Err(error(ErrorKind::OutOfRange, &info.name, expected, found).at(at));
            }
        }
    }
    disjoint(&infos, &declared_at, data_offset)?;
    let table = Table::with_offsets(infos, |i| declared_at.get(i).copied())?;
    Ok((table, data_offset))
}

/// One entry; its range is still relative to the data section.
fn entry(cursor: &mut Cursor<'_>, i: u64, alignment: u32) -> Result<TensorInfo> {
    let limits = cursor.limits();
    let at = cursor.offset();
    let what = format_args!("name of tensor {i}");
    let name = try_string(cursor.str(limits.name_bytes, what)?, what)?;
    if name.is_empty() {
        return Err(FormatError::new(ErrorKind::BadValue, what, "a name", "an empty string").at(at));
    }
    let what = format_args!("tensor {}", Quoted(&name));

    let n_dims = cursor.u32(what)?;
    let most = (MAX_DIMS as u64).min(limits.dims);
    let mut dims = [1; MAX_DIMS];
    let dims = match dims.get_mut(..n_dims as usize) {
        Some(dims) if u64::from(n_dims) <= most => dims,
        _ => {
            let expected = format_args!("at most {most} dimensions");
            return Err(FormatError::new(ErrorKind::BadValue, what, expected, n_dims).at(at));
        }
    };
    for dim in dims.iter_mut() {
        *dim = cursor.u64(what)?;
    }
    let shape = Shape::new(dims)
        .ok_or_else(|| FormatError::new(ErrorKind::BadValue, what, "at most 4 dimensions", n_dims).at(at))?;

    let id = cursor.u32(what)?;
    let dtype = TensorType::from_gguf_id(id).ok_or_else(|| {
        let retired = matches!(id, 4 | 5 | 31..=33 | 36..=38);
        let found = format_args!("type id {id}{}", if retired { ", which is retired" } else { "" });
        FormatError::new(ErrorKind::Unsupported, what, "a known tensor type", found).at(at)
    })?;
    let size = n_bytes(&shape, dtype, what).map_err(|e| e.at(at))?;

    let start = cursor.u64(what)?;
    if !start.is_multiple_of(alignment.into()) {
        let expected = format_args!("an offset that is a multiple of {alignment}");
        return Err(FormatError::new(ErrorKind::Misaligned, what, expected, start).at(at));
    }
    let Some(end) = start.checked_add(size) else {
        let expected = "an end within 64 bits";
        let found = format_args!("offset {start} and {size} bytes");
        return Err(FormatError::new(ErrorKind::Overflow, what, expected, found).at(at));
    };
    Ok(TensorInfo { name, shape, dtype, range: start..end })
}

/// Fails when two tensors share a byte. They may come in any order and leave gaps.
fn disjoint(infos: &[TensorInfo], declared_at: &[u64], data_offset: u64) -> Result<()> {
    let mut order: Vec<&TensorInfo> = Vec::new();
    reserve_exact(&mut order, infos.len(), "tensor table")?;
    order.extend(infos);
    order.sort_unstable_by_key(|info| info.range.start);
    for pair in order.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        if after.range.start < before.range.end {
            let expected = "bytes of its own";
            let found = format_args!(
                "bytes {} to {} of the data section, of which tensor {} has those from {} to {}",
                after.range.start - data_offset,
                after.range.end - data_offset,
                Quoted(&before.name),
                before.range.start - data_offset,
                before.range.end - data_offset,
            );
            let error = error(ErrorKind::Overlap, &after.name, expected, found);
            let at = infos.iter().position(|info| core::ptr::eq(info, after));
            return Err(match at.and_then(|i| declared_at.get(i)) {
                Some(&at) => error.at(at),
                None => error,
            });
        }
    }
    Ok(())
}

fn error(kind: ErrorKind, name: &str, expected: impl fmt::Display, found: impl fmt::Display) -> FormatError {
    FormatError::new(kind, format_args!("tensor {}", Quoted(name)), expected, found)
}
