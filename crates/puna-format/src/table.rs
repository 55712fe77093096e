//! Tensors in file order, found by name: the one table that all formats end in.

use crate::Result;
use crate::error::{ErrorKind, FormatError, Quoted, reserve_exact};
use alloc::vec::Vec;
use core::ops::Deref;

/// Something with a name that is unique in its table.
pub trait Named {
    /// The name.
    fn name(&self) -> &str;
}

/// An entry of one of several files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// Which file, by its position in the list the set was joined from.
    pub file: usize,
    /// The entry; its byte range is absolute in that file.
    pub tensor: T,
}

impl<T> Deref for Placed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.tensor
    }
}

impl<T: Named> Named for Placed<T> {
    fn name(&self) -> &str {
        self.tensor.name()
    }
}

/// A slice of named entries with lookup by name, in O(log n); it dereferences to the slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<T> {
    items: Vec<T>,
    /// Positions in `items`, sorted by name.
    by_name: Vec<u32>,
}

impl<T: Named> Table<T> {
    /// A table of these entries, in this order.
    ///
    /// # Errors
    /// [`ErrorKind::Duplicate`] when two have the same name; [`ErrorKind::Limit`] past 2^32 entries.
    pub fn new(items: Vec<T>) -> Result<Table<T>> {
        Table::with_offsets(items, |_| None)
    }

    /// As [`Table::new`]; `offset` tells where in the file entry `i` was declared.
    pub(crate) fn with_offsets(items: Vec<T>, offset: impl Fn(usize) -> Option<u64>) -> Result<Table<T>> {
        let n = u32::try_from(items.len())
            .map_err(|_| FormatError::limit("tensors", u32::MAX.into(), "entries", items.len() as u64))?;
        let mut by_name = Vec::new();
        reserve_exact(&mut by_name, items.len(), "tensor table")?;
        by_name.extend(0..n);
        // The position breaks ties, so that of two equal names the later one is reported.
        by_name.sort_unstable_by_key(|&i| (items[i as usize].name(), i));
        for pair in by_name.windows(2) {
            let (first, second) = (pair[0] as usize, pair[1] as usize);
            let name = items[second].name();
            if items[first].name() == name {
                let error = FormatError::new(
                    ErrorKind::Duplicate,
                    format_args!("tensor {}", Quoted(name)),
                    "one of this name",
                    format_args!("a second, number {second} after number {first}"),
                );
                return Err(match offset(second) {
                    Some(at) => error.at(at),
                    None => error,
                });
            }
        }
        Ok(Table { items, by_name })
    }

    /// The entry of this name.
    pub fn named(&self, name: &str) -> Option<&T> {
        let at = self.by_name.binary_search_by(|&i| self.items[i as usize].name().cmp(name)).ok()?;
        self.by_name.get(at).and_then(|&i| self.items.get(i as usize))
    }

    /// The entry of this name, which must be there.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`].
    pub fn need(&self, name: &str) -> Result<&T> {
        let what = format_args!("tensor {}", Quoted(name));
        self.named(name).ok_or_else(|| FormatError::missing(what, "it in the file"))
    }

    /// The entries in order of name.
    pub fn sorted(&self) -> impl Iterator<Item = &T> {
        self.by_name.iter().map(|&i| &self.items[i as usize])
    }

    /// The entries themselves, in file order.
    pub fn into_vec(self) -> Vec<T> {
        self.items
    }
}

impl<T> Deref for Table<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<'a, T> IntoIterator for &'a Table<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}
