//! A mutable slice whose disjoint parts are written by different tasks.

use core::marker::PhantomData;
use core::ops::Range;

/// A borrowed slice that tasks take parts of; see [`part`](Self::part).
pub(crate) struct Split<'a, T> {
    first: *mut T,
    len: usize,
    _slice: PhantomData<&'a mut [T]>,
}

// SAFETY: a `Split` is a `&mut [T]` whose elements move between threads only through `part`, whose contract makes
// every element reachable by one thread at a time.
unsafe impl<T: Send> Sync for Split<'_, T> {}

impl<'a, T> Split<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { first: slice.as_mut_ptr(), len: slice.len(), _slice: PhantomData }
    }

    /// The elements `range`, which must lie inside the slice (checked).
    ///
    /// # Safety
    /// While the part lives, no other part may contain any of its elements.
    #[expect(clippy::mut_from_ref, reason = "the caller proves that parts are disjoint")]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "part {range:?} of {}", self.len);
        // SAFETY: the range is inside the slice borrowed for `'a`, and by contract nobody else reaches it.
        unsafe { core::slice::from_raw_parts_mut(self.first.add(range.start), range.end - range.start) }
    }
}
