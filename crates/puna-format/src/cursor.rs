//! Little-endian reading through a window over a [`Source`], never past the header limit or the file's end.

use crate::Result;
use crate::error::{ErrorKind, FormatError, Quoted, reserve_exact};
use crate::limits::Limits;
use crate::source::Source;
use alloc::vec::Vec;
use core::fmt::Arguments;
use core::str::Utf8Error;

/// The first window; each refill doubles it up to [`LAST_WINDOW`], so that small headers cost little and large
/// ones few reads.
const FIRST_WINDOW: usize = 16 << 10;
const LAST_WINDOW: usize = 1 << 20;

/// Reads a header from its beginning. `what` in every method names the part for errors; it is only formatted
/// when one happens.
pub(crate) struct Cursor<'a> {
    source: &'a dyn Source,
    limits: &'a Limits,
    /// The file's length.
    len: u64,
    /// Bytes of the file from `window_start` on; `pos` is the next unread one.
    window: Vec<u8>,
    window_start: u64,
    pos: usize,
    next_window: usize,
    /// Of `limits.metadata_bytes`, what is still unspent.
    budget: u64,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(source: &'a dyn Source, limits: &'a Limits) -> Self {
        Cursor {
            source,
            limits,
            len: source.len(),
            window: Vec::new(),
            window_start: 0,
            pos: 0,
            next_window: FIRST_WINDOW,
            budget: limits.metadata_bytes,
        }
    }

    pub(crate) fn limits(&self) -> &'a Limits {
        self.limits
    }

    /// The absolute offset of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.window_start + self.pos as u64
    }

    /// The next `n` bytes.
    pub(crate) fn bytes(&mut self, n: usize, what: Arguments<'_>) -> Result<&[u8]> {
        if self.window.len() - self.pos < n {
            self.refill(n, what)?;
        }
        let start = self.pos;
        self.pos += n;
        Ok(&self.window[start..self.pos])
    }

    /// Moves the window to the next unread byte, with at least `n` bytes in it.
    #[cold]
    fn refill(&mut self, n: usize, what: Arguments<'_>) -> Result<()> {
        let start = self.offset();
        self.demand(n as u64, 1, what)?;
        let room = self.len.min(self.limits.header_bytes) - start;
        let size = usize::try_from(room).unwrap_or(usize::MAX).min(self.next_window.max(n));
        self.next_window = (self.next_window * 2).min(LAST_WINDOW);
        self.window.clear();
        (self.window_start, self.pos) = (start, 0);
        reserve_exact(&mut self.window, size, "header window")?;
        self.window.resize(size, 0);
        let read = self.source.read_at(start, &mut self.window);
        if read.is_err() {
            self.window.clear();
        }
        read
    }

    /// Fails unless `count` things of at least `each` bytes can still follow.
    pub(crate) fn demand(&self, count: u64, each: u64, what: Arguments<'_>) -> Result<()> {
        let at = self.offset();
        let Some(end) = count.checked_mul(each).and_then(|bytes| at.checked_add(bytes)) else {
            let expected = "a size within 64 bits";
            let found = format_args!("{count} times {each} bytes");
            return Err(FormatError::new(ErrorKind::Overflow, what, expected, found).at(at));
        };
        if end > self.len {
            let expected = format_args!("at least {} more bytes", end - at);
            let found = format_args!("{} until the end of the file", self.len - at);
            return Err(FormatError::new(ErrorKind::Truncated, what, expected, found).at(at));
        }
        if end > self.limits.header_bytes {
            let what = format_args!("header, in {what}");
            return Err(FormatError::limit(what, self.limits.header_bytes, "bytes", end).at(at));
        }
        Ok(())
    }

    /// Fails unless `found` is within `limit`.
    pub(crate) fn within(&self, found: u64, limit: u64, unit: &str, what: Arguments<'_>) -> Result<()> {
        if found > limit {
            return Err(FormatError::limit(what, limit, unit, found).at(self.offset()));
        }
        Ok(())
    }

    /// Takes `bytes` of memory from the metadata budget.
    pub(crate) fn spend(&mut self, bytes: u64, what: Arguments<'_>) -> Result<()> {
        let Some(left) = self.budget.checked_sub(bytes) else {
            let limit = self.limits.metadata_bytes;
            let total = (limit - self.budget).saturating_add(bytes);
            let what = format_args!("metadata, in {what}");
            return Err(FormatError::limit(what, limit, "bytes", total).at(self.offset()));
        };
        self.budget = left;
        Ok(())
    }

    pub(crate) fn array<const N: usize>(&mut self, what: Arguments<'_>) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N, what)?);
        Ok(out)
    }

    pub(crate) fn u32(&mut self, what: Arguments<'_>) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: Arguments<'_>) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A string: u64 byte length, then UTF-8.
    pub(crate) fn str(&mut self, limit: u64, what: Arguments<'_>) -> Result<&str> {
        let at = self.offset();
        let bytes = self.str_bytes(limit, what)?;
        core::str::from_utf8(bytes).map_err(|e| not_utf8(bytes, e, what).at(at + 8 + e.valid_up_to() as u64))
    }

    /// The bytes of a string, whatever they are.
    #[inline]
    pub(crate) fn str_bytes(&mut self, limit: u64, what: Arguments<'_>) -> Result<&[u8]> {
        // Vocabularies have hundreds of thousands, nearly all of which lie in the window.
        let (len, rest) = self.window.get(self.pos..).and_then(|rest| rest.split_first_chunk()).unzip();
        let len = len.map(|&len| u64::from_le_bytes(len)).filter(|&len| len <= limit);
        if let Some(n) = len.and_then(|len| usize::try_from(len).ok())
            && rest.is_some_and(|rest: &[u8]| n <= rest.len())
        {
            let start = self.pos + 8;
            self.pos = start + n;
            return Ok(&self.window[start..self.pos]);
        }
        self.far_str_bytes(limit, what)
    }

    /// Those of a string that is not all in the window, or too long.
    #[cold]
    fn far_str_bytes(&mut self, limit: u64, what: Arguments<'_>) -> Result<&[u8]> {
        let at = self.offset();
        let n = self.u64(what)?;
        if n > limit {
            return Err(FormatError::limit(format_args!("length of {what}"), limit, "bytes", n).at(at));
        }
        self.demand(n, 1, what)?;
        let n = usize::try_from(n).map_err(|_| {
            FormatError::limit(format_args!("length of {what}"), usize::MAX as u64, "bytes", n).at(at)
        })?;
        self.bytes(n, what)
    }
}

/// The error of a string that is not UTF-8.
pub(crate) fn not_utf8(bytes: &[u8], error: Utf8Error, what: Arguments<'_>) -> FormatError {
    let (good, bad) = bytes.split_at(error.valid_up_to());
    let good = core::str::from_utf8(good).unwrap_or_default();
    let found = format_args!("byte {:#04x} after {}", bad.first().unwrap_or(&0), Quoted(good));
    FormatError::new(ErrorKind::Utf8, what, "UTF-8", found)
}
