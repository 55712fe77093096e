//! TQ2_0: 256 ternary values of 2 bits, one scale: `y = d · (q − 1)`.

use super::fit::peak;
use super::layout::{f16_at, pack, put, put_f16, unpack};
use super::tq1_0::trits;

/// Values in a block.
pub const LEN: usize = 256;
/// Bytes of a block.
pub const BYTES: usize = 66;
/// 64 bytes: each 32 hold four runs of 32 values, one run per 2-bit plane, lowest bits first.
pub const QS: usize = 0;
/// f16 scale `d`.
pub const D: usize = 64;

/// Expands a block (the unused code 3 means 2 · d).
pub fn dequantize_block(block: &[u8; BYTES], out: &mut [f32; LEN]) {
    let d = f16_at(block, D);
    let q = unpack::<2, LEN>(&block[QS..D], 32);
    for (y, q) in out.iter_mut().zip(q) {
        *y = d * (f32::from(q) - 1.0);
    }
}

/// Packs a block; the largest magnitude becomes ±d.
pub fn quantize_block(x: &[f32; LEN]) -> [u8; BYTES] {
    let d = peak(x).abs();
    let mut block = [0; BYTES];
    put(&mut block, QS, &pack::<2, 64>(&trits(x, d), 32));
    put_f16(&mut block, D, d);
    block
}
