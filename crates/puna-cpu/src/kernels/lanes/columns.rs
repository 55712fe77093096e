//! Operations on vectors whose lanes are rows of weights: how rows become columns, and how columns are taken apart.

use super::Lanes;

/// The most rows that become columns together: as many as the widest vectors of any instruction set have lanes.
pub(crate) const ROWS: usize = 16;

/// An instruction set that makes columns of rows: lane `i` of its widest vectors, [`Lanes::T`] and [`Lanes::G`], belongs to
/// row `i`.
pub(crate) trait Columns: Lanes {
    /// Lane `i` of vector `j` is word `j` of row `i`. What there is beyond [`Lanes::LANES`] rows is not looked at.
    fn tcolumns(self, rows: [&[u8; 16]; ROWS]) -> [Self::T; 4];
    fn tstore(self, a: Self::T, to: &mut [u32]);
    fn tsplat8(self, value: i8) -> Self::T;
    fn tand(self, a: Self::T, b: Self::T) -> Self::T;
    fn tor(self, a: Self::T, b: Self::T) -> Self::T;
    /// Shifts 16-bit lanes right, zeros coming in. The count should be a constant once loops are unrolled.
    fn tdown(self, a: Self::T, bits: usize) -> Self::T;
    fn tup(self, a: Self::T, bits: usize) -> Self::T;
    fn tsub8(self, a: Self::T, b: Self::T) -> Self::T;
    /// Byte `i` of each 32-bit lane, signed, widened.
    fn tbyte(self, a: Self::T, i: usize) -> Self::T;
    /// The signed bytes 0 and 2 of each 32-bit lane widened to 16 bits, then the bytes 1 and 3.
    fn twiden_bytes(self, a: Self::T) -> [Self::T; 2];
    /// Byte `i` is `table[index[i]]`. No index exceeds 15.
    fn tlookup(self, table: &[u8; 16], index: Self::T) -> Self::T;
    /// Minus the sums, which are kept as [`Lanes::tadd_bytes`] keeps them.
    fn tminus(self, sums: Self::T) -> Self::T;
    /// The F16 in the low half of each 32-bit lane, or in the high one, widened.
    fn gwords(self, a: Self::T, high: bool) -> Self::G;
}
