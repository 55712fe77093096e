//! Writing new keys and values into the cache.

use super::expect;
use crate::{DeviceError, KvView, Rows};

/// Stores the keys and values of positions `pos ..` in the blocks of `kv`, rounded to the blocks' element type.
///
/// Keys are stored as they come: after rotation and norm.
#[derive(Clone, Debug)]
pub struct KvAppend<'a> {
    /// `[n, n_kv_heads * head_dim]`.
    pub k: Rows,
    /// `[n, n_kv_heads * head_dim]`.
    pub v: Rows,
    /// Where to. Its blocks must reach to `pos + n`.
    pub kv: &'a KvView<'a>,
    /// Absolute position of the first row.
    pub pos: u64,
}

impl KvAppend<'_> {
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        const OP: &str = "KvAppend";
        let width = self.kv.n_kv_heads * self.kv.head_dim;
        expect(OP, "key width", self.k.width, width)?;
        expect(OP, "value width", self.v.width, width)?;
        expect(OP, "value rows", self.v.n_rows, self.k.n_rows)?;
        check_reach(OP, self.kv, self.pos, self.k.n_rows)
    }
}

/// The cache has a slot for each of the positions `pos .. pos + n`.
pub(super) fn check_reach(op: &'static str, kv: &KvView<'_>, pos: u64, n: usize) -> Result<(), DeviceError> {
    let slots = (kv.blocks.len() as u64).saturating_mul(kv.block_tokens as u64);
    let (first, end) = (kv.first, kv.first.saturating_add(slots));
    if pos < first {
        return Err(DeviceError::Range { op, what: "first cached position", limit: pos + 1, found: first });
    }
    match pos.saturating_add(n as u64) {
        last if last > end => Err(DeviceError::Range { op, what: "position", limit: end, found: last - 1 }),
        _ => Ok(()),
    }
}
