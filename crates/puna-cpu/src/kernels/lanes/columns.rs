//! Operations on vectors whose lanes are rows of weights: how rows become columns, and how columns are taken apart.

use super::Lanes;

/// The most rows that become columns together: as many as the widest vectors of any instruction set have lanes.
pub(crate) const ROWS: usize = 16;

/// What makes columns of rows: lane `i` of the widest vectors, [`Lanes::T`] and [`Lanes::G`], belongs to row `i`.
pub(crate) trait Columns: Lanes {
    /// Lane `i` of vector `j` is word `j` of row `i`. What there is beyond [`Lanes::LANES`] rows is not looked at.
    fn tcolumns(self, rows: [&[u8; 16]; ROWS]) -> [Self::T; 4];
    fn tstore(self, a: Self::T, to: &mut [u32]);
    /// The same for codes, four to a lane, in whatever order of bytes [`Lanes::tadd_bytes`] wants them.
    #[inline(always)]
    fn tstore_codes(self, a: Self::T, to: &mut [u32]) {
        self.tstore(a, to);
    }
    /// What sums of [`Lanes::tadd_bytes`] must begin with, so that the 128 that was added to activations does not count: minus
    /// 128 times the sum of all bytes of a lane of `codes`, none of which is larger than `limit` or smaller than its negative; or
    /// nothing where that takes the 128 off.
    fn tstart(self, limit: i32, codes: &[Self::T]) -> Self::T;
    fn tsplat8(self, value: i8) -> Self::T;
    fn tand(self, a: Self::T, b: Self::T) -> Self::T;
    fn tor(self, a: Self::T, b: Self::T) -> Self::T;
    /// Shifts 16-bit lanes right, zeros coming in. The count should be a constant once loops are unrolled.
    fn tdown(self, a: Self::T, bits: usize) -> Self::T;
    fn tup(self, a: Self::T, bits: usize) -> Self::T;
    fn tsub8(self, a: Self::T, b: Self::T) -> Self::T;
    /// Byte `i` of each 32-bit lane, signed, widened.
    fn tbyte(self, a: Self::T, i: usize) -> Self::T;
    /// Byte `i` of each 32-bit lane is ones where bit `4 * four + i` of the lane is clear, else 0.
    fn tclear(self, a: Self::T, four: usize) -> Self::T;
    /// The signed bytes 0 and 2 of each 32-bit lane widened to 16 bits, then the bytes 1 and 3.
    fn twiden_bytes(self, a: Self::T) -> [Self::T; 2];
    /// Byte `i` is `table[index[i]]`. No index exceeds 15.
    fn tlookup(self, table: &[u8; 16], index: Self::T) -> Self::T;
    /// The F16 in the low half of each 32-bit lane, or in the high one, widened.
    fn gwords(self, a: Self::T, high: bool) -> Self::G;
    /// `a`, but for NaNs, of which there is one: rounding it does not overflow.
    fn gone_nan(self, a: Self::G) -> Self::G;
    /// `low` in the low half of each 32-bit lane and `high` in the other, rounded to the nearest BF16, ties away from zero. NaNs
    /// must have come through [`gone_nan`](Self::gone_nan).
    fn tbf16_pairs(self, low: Self::G, high: Self::G) -> Self::T;
}

/// For four bits from bit `4 * four` of each 32-bit lane on: the byte that they are in, in all bytes of the lane, and these bits,
/// one in each byte.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) static FOUR_BITS: [[[u8; 16]; 2]; 8] = {
    let mut all = [[[0; 16]; 2]; 8];
    let mut i = 0;
    while i < 8 * 16 {
        let (four, at) = (i / 16, i % 16);
        all[four] = {
            let [mut bytes, mut bits] = all[four];
            bytes[at] = (at / 4 * 4 + four / 2) as u8;
            bits[at] = 1 << (four % 2 * 4 + at % 4);
            [bytes, bits]
        };
        i += 1;
    }
    all
};
