//! A list of strings in two allocations, for vocabularies of hundreds of thousands.

use crate::Result;
use crate::error::{FormatError, out_of_memory, reserve_exact};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// An array of strings: all text in one piece, and where each string ends.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Strings {
    text: String,
    ends: Vec<u32>,
}

impl Strings {
    pub(super) const EMPTY: &'static Strings = &Strings { text: String::new(), ends: Vec::new() };

    /// No strings.
    pub const fn new() -> Strings {
        Strings { text: String::new(), ends: Vec::new() }
    }

    /// These strings.
    ///
    /// # Errors
    /// As [`Strings::push`].
    pub fn from_strs<S: AsRef<str>>(strs: impl IntoIterator<Item = S>) -> Result<Strings> {
        let mut strings = Strings::new();
        strs.into_iter().try_for_each(|s| strings.push(s.as_ref()))?;
        Ok(strings)
    }

    /// Adds a string.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory), and [`ErrorKind::Limit`](crate::ErrorKind::Limit)
    /// when all strings together would exceed 4 GiB.
    pub fn push(&mut self, s: &str) -> Result<()> {
        let end = end(self.text.len(), s.len())?;
        self.text.try_reserve(s.len()).map_err(|e| out_of_memory(e, "array of strings", s.len()))?;
        self.ends.try_reserve(1).map_err(|e| out_of_memory(e, "array of strings", 4))?;
        self.text.push_str(s);
        self.ends.push(end);
        Ok(())
    }

    /// The number of strings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// String number `i`.
    pub fn get(&self, i: usize) -> Option<&str> {
        let end = *self.ends.get(i)? as usize;
        let start = match i.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.text.get(start..end)
    }

    /// The strings in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let s = self.text.get(start..end as usize).unwrap_or_default();
            start = end as usize;
            s
        })
    }

    /// Bytes of all strings together.
    pub fn text_len(&self) -> usize {
        self.text.len()
    }

    /// All strings in one piece, and where in it each ends.
    pub fn parts(&self) -> (&str, &[u32]) {
        (&self.text, &self.ends)
    }
}

/// Strings of a file before it is known whether they are text.
pub(super) struct StringBytes {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl StringBytes {
    /// None yet, with room for the ends of `n`.
    pub(super) fn with_capacity(n: usize, what: fmt::Arguments<'_>) -> Result<Self> {
        let mut strings = Self { bytes: Vec::new(), ends: Vec::new() };
        reserve_exact(&mut strings.ends, n, what)?;
        Ok(strings)
    }

    /// Adds a string, with the errors of [`Strings::push`].
    #[inline]
    pub(super) fn push(&mut self, s: &[u8]) -> Result<()> {
        let end = end(self.bytes.len(), s.len())?;
        self.bytes.try_reserve(s.len()).map_err(|e| out_of_memory(e, "array of strings", s.len()))?;
        self.ends.try_reserve(1).map_err(|e| out_of_memory(e, "array of strings", 4))?;
        self.bytes.extend_from_slice(s);
        self.ends.push(end);
        Ok(())
    }

    /// The strings in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = core::iter::once(0).chain(self.ends.iter().copied());
        let range = starts.zip(&self.ends).map(|(start, end)| start as usize..*end as usize);
        range.map(|range| self.bytes.get(range).unwrap_or_default())
    }

    /// Their text, if all of it is UTF-8 and no character is in two of them.
    pub(super) fn into_strings(self) -> core::result::Result<Strings, StringBytes> {
        let Self { bytes, ends } = self;
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => return Err(Self { bytes: e.into_bytes(), ends }),
        };
        if ends.iter().all(|&end| text.is_char_boundary(end as usize)) {
            return Ok(Strings { text, ends });
        }
        Err(Self { bytes: text.into_bytes(), ends })
    }
}

/// Where a string of `len` bytes ends after `before` others.
#[inline]
fn end(before: usize, len: usize) -> Result<u32> {
    let end = before as u64 + len as u64;
    u32::try_from(end).map_err(|_| FormatError::limit("strings of one array", u32::MAX.into(), "bytes", end))
}

impl fmt::Debug for Strings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
