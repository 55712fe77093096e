//! Grouped-query attention over cached keys and values.

use super::{distinct, expect, kv_append::check_reach};
use crate::{DeviceError, KvView, Rows};

/// Softmax attention of query rows at positions `pos ..` over the cache.
///
/// Query head `h` uses key/value head `h / (n_heads / n_kv_heads)`. The query at position `p` sees the keys `k` with
/// `window.start(p) <= k <= p`: `out = sum_k softmax_k(scale * q·key_k) * value_k`.
#[derive(Clone, Debug)]
pub struct Attend<'a> {
    /// `[n, n_heads * head_dim]`, prepared.
    pub q: Rows,
    /// The cache, which already holds the positions of the query rows.
    pub kv: &'a KvView<'a>,
    /// `[n, n_heads * head_dim]`.
    pub out: Rows,
    /// Absolute position of the first query row.
    pub pos: u64,
    /// Factor of the scores, `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Which earlier positions are visible.
    pub window: Window,
}

/// Which positions a query sees, besides its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// All earlier positions.
    Full,
    /// The earlier positions of its own chunk of this many positions, counted from absolute position 0.
    Chunk(u64),
}

impl Window {
    /// The first position that a query at `pos` sees.
    pub const fn start(self, pos: u64) -> u64 {
        match self {
            Window::Full => 0,
            Window::Chunk(size) => match pos.checked_rem(size) {
                Some(into) => pos - into,
                None => 0,
            },
        }
    }
}

impl Attend<'_> {
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        const OP: &str = "Attend";
        distinct(OP, self.q, self.out)?;
        expect(OP, "output rows", self.out.n_rows, self.q.n_rows)?;
        expect(OP, "output width", self.out.width, self.q.width)?;
        let kv_width = self.kv.n_kv_heads * self.kv.head_dim;
        let group = self.q.width.checked_div(kv_width).unwrap_or(0);
        expect(OP, "query width in whole head groups", self.q.width, group * kv_width)?;
        check_reach(OP, self.kv, self.pos, self.q.n_rows)?;
        let start = self.window.start(self.pos);
        if self.kv.first > start {
            let (limit, found) = (start + 1, self.kv.first);
            return Err(DeviceError::Range { op: OP, what: "first cached position", limit, found });
        }
        Ok(())
    }
}
