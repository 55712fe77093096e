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

    /// No strings yet, with room for the ends of `n`.
    pub(super) fn with_capacity(n: usize, what: fmt::Arguments<'_>) -> Result<Strings> {
        let mut strings = Strings::new();
        reserve_exact(&mut strings.ends, n, what)?;
        Ok(strings)
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
        let end = self.text.len() as u64 + s.len() as u64;
        let end = u32::try_from(end)
            .map_err(|_| FormatError::limit("strings of one array", u32::MAX.into(), "bytes", end))?;
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
}

impl fmt::Debug for Strings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
