//! Reading and writing the fields of a block: little-endian numbers and bit-packed codes.

use half::f16;

/// The f16 at byte `at`, widened.
pub(super) fn f16_at<const B: usize>(block: &[u8; B], at: usize) -> f32 {
    f16::from_bits(u16_at(block, at)).to_f32()
}

/// The u16 at byte `at`.
pub(super) fn u16_at<const B: usize>(block: &[u8; B], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

/// The u32 at byte `at`.
pub(super) fn u32_at<const B: usize>(block: &[u8; B], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// Writes `field` at byte `at`.
pub(super) fn put<const B: usize>(block: &mut [u8; B], at: usize, field: &[u8]) {
    block[at..at + field.len()].copy_from_slice(field);
}

/// Writes `value`, rounded to f16, at byte `at`.
pub(super) fn put_f16<const B: usize>(block: &mut [u8; B], at: usize, value: f32) {
    put(block, at, &f16::from_f32(value).to_le_bytes());
}

/// `value` as it reads back after being stored as f16.
pub(super) fn through_f16(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

/// Unpacks the first `N` codes of `BITS` bits.
///
/// Every `run` bytes hold `8 / BITS` runs of `run` consecutive codes, one run per bit plane, lowest bits first.
/// All bit-packed formats but the ternary TQ1_0 and the codebooks use this one arrangement.
pub(super) fn unpack<const BITS: usize, const N: usize>(packed: &[u8], run: usize) -> [u8; N] {
    let mask = (1u8 << BITS) - 1;
    let mut codes = [0; N];
    for (codes, packed) in codes.chunks_exact_mut(run * 8 / BITS).zip(packed.chunks_exact(run)) {
        for (plane, codes) in codes.chunks_exact_mut(run).enumerate() {
            for (code, byte) in codes.iter_mut().zip(packed) {
                *code = (byte >> (plane * BITS)) & mask;
            }
        }
    }
    codes
}

/// Packs the low `BITS` bits of each code, the inverse of [`unpack`].
pub(super) fn pack<const BITS: usize, const B: usize>(codes: &[u8], run: usize) -> [u8; B] {
    let mask = (1u8 << BITS) - 1;
    let mut packed = [0; B];
    for (codes, packed) in codes.chunks_exact(run * 8 / BITS).zip(packed.chunks_exact_mut(run)) {
        for (plane, codes) in codes.chunks_exact(run).enumerate() {
            for (code, byte) in codes.iter().zip(packed.iter_mut()) {
                *byte |= (code & mask) << (plane * BITS);
            }
        }
    }
    packed
}
