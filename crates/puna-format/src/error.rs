//! The one error of this crate: what was wrong, where, what was expected and what was found.

use alloc::boxed::Box;
use alloc::collections::TryReserveError;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Display, Write};

/// The kind of a [`FormatError`], for callers that act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The source or sink itself failed.
    Io,
    /// The file ends before something it announces.
    Truncated,
    /// The first bytes are not those of this format.
    NotThisFormat,
    /// A version or byte order that is recognised but not read.
    Unsupported,
    /// A number in the file exceeds one of the caller's [`Limits`](crate::Limits).
    Limit,
    /// An allocation within the limits failed.
    OutOfMemory,
    /// Text that is not UTF-8.
    Utf8,
    /// JSON that does not parse.
    Syntax,
    /// A value the format does not allow.
    BadValue,
    /// A key or tensor that occurs twice.
    Duplicate,
    /// A size that does not fit in 64 bits.
    Overflow,
    /// A tensor's bytes that are not inside the file.
    OutOfRange,
    /// Tensors that share bytes, or leave bytes unused where the format forbids it.
    Overlap,
    /// An offset that is not a multiple of the alignment.
    Misaligned,
    /// A value of another type than asked for.
    WrongType,
    /// A key or tensor that is needed and absent.
    Missing,
    /// Files that do not belong together, or data that is not as announced.
    Mismatch,
}

/// Why a file was refused. Displays as one line: what, expected, found, and where.
///
/// One pointer wide, so that a `Result` of a small value stays small.
#[derive(Clone, PartialEq, Eq)]
pub struct FormatError(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    what: String,
    expected: String,
    found: String,
    offset: Option<u64>,
    file: Option<String>,
}

impl FormatError {
    /// An error about `what` (a key, a tensor, a part of the file).
    pub fn new(kind: ErrorKind, what: impl Display, expected: impl Display, found: impl Display) -> Self {
        let (what, expected, found) = (what.to_string(), expected.to_string(), found.to_string());
        FormatError(Box::new(Inner { kind, what, expected, found, offset: None, file: None }))
    }

    /// The same error at this byte of the file; an offset already known is kept.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// The same error in this file; a file already named is kept.
    #[must_use]
    pub fn in_file(mut self, name: impl Display) -> Self {
        self.0.file.get_or_insert_with(|| name.to_string());
        self
    }

    pub(crate) fn limit(what: impl Display, limit: u64, unit: &str, found: u64) -> Self {
        let expected = format_args!("at most {limit} {unit} (a limit of the caller's)");
        FormatError::new(ErrorKind::Limit, what, expected, found)
    }

    pub(crate) fn wrong_type(what: impl Display, expected: impl Display, found: impl Display) -> Self {
        FormatError::new(ErrorKind::WrongType, what, expected, found)
    }

    pub(crate) fn missing(what: impl Display, expected: impl Display) -> Self {
        FormatError::new(ErrorKind::Missing, what, expected, "nothing")
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The key, tensor or part of the file at fault.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// What would have been right.
    pub fn expected(&self) -> &str {
        &self.0.expected
    }

    /// What was there instead.
    pub fn found(&self) -> &str {
        &self.0.found
    }

    /// The absolute byte offset in the file, where one is known.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// The file, where a caller has named it with [`FormatError::in_file`].
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }
}

impl Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { what, expected, found, offset, file, .. } = &*self.0;
        if let Some(file) = file {
            write!(f, "{file}: ")?;
        }
        write!(f, "{what}: expected {expected}, found {found}")?;
        match offset {
            Some(offset) => write!(f, " (at byte {offset})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FormatError({:?}: {self})", self.0.kind)
    }
}

impl core::error::Error for FormatError {}

/// Text from a file, for an error message: quoted, escaped, and cut when long.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 80;
        f.write_char('"')?;
        for c in self.0.chars().take(SHOWN) {
            write!(f, "{}", c.escape_debug())?;
        }
        f.write_str(if self.0.chars().nth(SHOWN).is_some() { "…\"" } else { "\"" })
    }
}

/// A message of another library, cut when long.
pub(crate) struct Clipped<'a>(pub(crate) &'a str);

impl Display for Clipped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 160;
        match self.0.char_indices().nth(SHOWN).and_then(|(end, _)| self.0.get(..end)) {
            Some(shown) => write!(f, "{shown}…"),
            None => f.write_str(self.0),
        }
    }
}

/// `Vec::try_reserve_exact` with the error of this crate.
pub(crate) fn reserve_exact<T>(vec: &mut Vec<T>, more: usize, what: impl Display) -> crate::Result<()> {
    vec.try_reserve_exact(more).map_err(|e| out_of_memory(e, what, more.saturating_mul(size_of::<T>())))
}

/// A copy of `text` whose allocation may fail.
pub(crate) fn try_string(text: &str, what: impl Display) -> crate::Result<String> {
    let mut copy = String::new();
    copy.try_reserve_exact(text.len()).map_err(|e| out_of_memory(e, what, text.len()))?;
    copy.push_str(text);
    Ok(copy)
}

pub(crate) fn out_of_memory(cause: TryReserveError, what: impl Display, bytes: usize) -> FormatError {
    FormatError::new(ErrorKind::OutOfMemory, what, format_args!("{bytes} bytes of memory"), cause)
}
