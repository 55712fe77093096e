//! Operations on vectors of 64 bytes, of instruction sets that have them.

use super::Columns;

/// An instruction set with 64-byte vectors, [`Lanes::T`], seen as 64 x 8, 32 x 16 or 16 x 32 bits in four quarters.
pub(crate) trait Wide: Columns {
    fn tbytes(self, from: &[u8; 64]) -> Self::T;
    /// Two halves of the same bytes.
    fn ttwice(self, from: &[u8; 32]) -> Self::T;
    /// Four quarters.
    fn tjoin4(self, from: [&[u8; 16]; 4]) -> Self::T;
    /// Two halves, the first one low.
    fn thalves(self, low: Self::V, high: Self::V) -> Self::T;
    fn tlow(self, a: Self::T) -> Self::V;
    fn thigh(self, a: Self::T) -> Self::V;
    fn txor(self, a: Self::T, b: Self::T) -> Self::T;
    /// Shifts the 16-bit lanes of each quarter right by a count of its own, zeros coming in.
    fn tshr16(self, a: Self::T, bits: [u16; 4]) -> Self::T;
    fn tshl16(self, a: Self::T, bits: [u16; 4]) -> Self::T;
    fn tsub16(self, a: Self::T, b: Self::T) -> Self::T;
    /// The low 16 bits of products of 16-bit lanes.
    fn tmul16(self, a: Self::T, b: Self::T) -> Self::T;
    fn tadd32(self, a: Self::T, b: Self::T) -> Self::T;
    fn tsub32(self, a: Self::T, b: Self::T) -> Self::T;
    /// Adds `value` to the bytes of `a` where `bits` and `of` have a bit in common.
    fn tadd8_where(self, a: Self::T, value: Self::T, bits: Self::T, of: Self::T) -> Self::T;
    /// In each quarter: byte `i` is `table[index[i] % 16]`, or 0 where `index[i]` has its top bit set.
    fn tshuffle8(self, table: Self::T, index: Self::T) -> Self::T;
    /// `acc` plus, in each 32-bit lane, the sum of four products of unsigned by signed bytes.
    fn tdot8(self, acc: Self::T, unsigned: Self::T, signed: Self::T) -> Self::T;
    /// Products of signed bytes by signed bytes, neither of them -128, neighbours summed to 16 bits.
    fn tmul8_pairs_signed(self, w: Self::T, x: Self::T) -> Self::T;
    /// 32-bit lanes narrowed to 16 bits, which must hold them: in each quarter those of `a`, then those of `b`.
    fn tpack16(self, a: Self::T, b: Self::T) -> Self::T;
    /// Products of signed 16-bit lanes, neighbours summed to 32 bits.
    fn tmul16_sums(self, a: Self::T, b: Self::T) -> Self::T;
    /// 16-bit lane `i` is lane `index[i]` of `a`.
    fn tpick16(self, a: Self::T, index: &[u16; 32]) -> Self::T;
    /// The same of `a` and `b`, whose lanes are numbers 32 and following.
    fn tpick16_2(self, a: Self::T, b: Self::T, index: &[u16; 32]) -> Self::T;
    /// 32-bit lane `i` is lane `index[i]` of `a` and `b`, whose lanes are numbers 16 and following.
    fn tpick32_2(self, a: Self::T, b: Self::T, index: &[u32; 16]) -> Self::T;
    /// Two halves of the same floats.
    fn gtwice(self, a: Self::F) -> Self::G;
    /// One F16, widened, in all lanes.
    fn ghalf(self, from: &[u8; 2]) -> Self::G;
    /// The same of two.
    fn gpair(self, from: &[u8; 4]) -> [Self::G; 2];
    /// 16 F16, widened.
    fn ghalves(self, a: Self::V) -> Self::G;
}
