//! The IQ codebooks, unpacked, and what the IQ formats share: signed grid entries under a scale.

use super::grids;

/// Entries of 8 levels of {8, 25, 43} for IQ2_XXS.
pub static IQ2_XXS: [[i8; 8]; 256] = unpack(&grids::IQ2_XXS, &[8, 25, 43]);
/// Entries of 8 levels of {8, 25, 43} for IQ2_XS.
pub static IQ2_XS: [[i8; 8]; 512] = unpack(&grids::IQ2_XS, &[8, 25, 43]);
/// Entries of 8 levels of {8, 25, 43} for IQ2_S.
pub static IQ2_S: [[i8; 8]; 1024] = unpack(&grids::IQ2_S, &[8, 25, 43]);
/// Entries of 4 levels for IQ3_XXS.
pub static IQ3_XXS: [[i8; 4]; 256] = unpack(&grids::IQ3_XXS, &[4, 12, 20, 28, 36, 44, 52, 62]);
/// Entries of 4 odd levels for IQ3_S.
pub static IQ3_S: [[i8; 4]; 512] = unpack(&grids::IQ3_S, &[1, 3, 5, 7, 9, 11, 13, 15]);
/// Entries of 8 levels of {−1, 0, 1} for IQ1_S and IQ1_M.
pub static IQ1: [[i8; 8]; 2048] = unpack(&grids::IQ1_S, &[-1, 0, 1]);

/// Spreads `L` codes of `16 / L` bits to their levels.
const fn unpack<const N: usize, const L: usize>(packed: &[u16; N], levels: &[i8]) -> [[i8; L]; N] {
    let bits = 16 / L;
    let mut grid = [[0; L]; N];
    let mut i = 0;
    while i < N {
        let mut j = 0;
        while j < L {
            grid[i][j] = levels[(packed[i] >> (bits * j)) as usize & ((1 << bits) - 1)];
            j += 1;
        }
        i += 1;
    }
    grid
}

/// Eight signs from seven stored bits (the lowest of `bits`): the eighth makes the number of minus signs even.
pub const fn even_signs(bits: u32) -> u8 {
    let bits = bits as u8 & 0x7F;
    bits | (bits.count_ones() as u8 & 1) << 7
}

/// Writes `scale · entry`, negated where `signs` (first value lowest) has a 1.
pub(super) fn expand(scale: f32, entry: &[i8], signs: u8, out: &mut [f32]) {
    for (j, (y, level)) in out.iter_mut().zip(entry).enumerate() {
        let sign = if signs >> j & 1 == 0 { 1.0 } else { -1.0 };
        *y = scale * f32::from(*level) * sign;
    }
}

/// Writes `scale · (entry + shift)` for the ternary codebook, `shift` being ±⅛.
pub(super) fn expand_shifted(scale: f32, index: usize, negative: bool, out: &mut [f32]) {
    let shift = if negative { -0.125 } else { 0.125 };
    for (y, level) in out.iter_mut().zip(&IQ1[index]) {
        *y = scale * (f32::from(*level) + shift);
    }
}
