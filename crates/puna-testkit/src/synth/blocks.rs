//! Weights of any format as fast as memory allows: pieces that the format's own quantiser made of normal values once,
//! laid out in a random order that no two matrices share.

use super::Result;
use crate::seeded::{element, hash};
use puna_core::DType;
use puna_core::quant::Quantizer;
use std::collections::HashMap;

/// Values of a piece: whole blocks of every format.
const PIECE: usize = 256;
/// Bytes handed on at once, about.
const CHUNK: usize = 1 << 20;

/// A pool for each format and deviation asked for so far.
pub(super) struct Pools {
    seed: u32,
    /// Pieces in each.
    pieces: u32,
    pools: HashMap<(DType, u32), Pool>,
}

/// Quantised pieces, one after the other.
pub(super) struct Pool {
    bytes: Vec<u8>,
    piece: usize,
    pieces: u32,
}

impl Pools {
    pub(super) fn new(seed: u32, pieces: u32) -> Pools {
        Pools { seed, pieces, pools: HashMap::new() }
    }

    /// Normal values of this standard deviation in a format.
    pub(super) fn get(&mut self, dtype: DType, deviation: f32) -> Result<&Pool> {
        let key = (dtype, deviation.to_bits());
        if !self.pools.contains_key(&key) {
            self.pools.insert(key, Pool::new(self.seed, self.pieces, dtype, deviation)?);
        }
        Ok(&self.pools[&key])
    }
}

impl Pool {
    fn new(seed: u32, pieces: u32, dtype: DType, deviation: f32) -> Result<Pool> {
        let piece =
            dtype.row_bytes(PIECE).ok_or_else(|| format!("{dtype}: blocks that do not divide {PIECE}"))?;
        let mut bytes = vec![0; piece * pieces as usize];
        let (start, quantizer) = (element(seed, u32::MAX), Quantizer::new(dtype));
        for (at, bytes) in (0..).step_by(PIECE).zip(bytes.chunks_exact_mut(piece)) {
            let values: [f32; PIECE] = std::array::from_fn(|i| normal(start, at + i as u32) * deviation);
            quantizer.row(&values, None, bytes)?;
        }
        Ok(Pool { bytes, piece, pieces })
    }

    /// Hands on `n_bytes` of pieces in the order of `seed`.
    pub(super) fn stream(&self, seed: u32, n_bytes: u64, mut put: impl FnMut(&[u8]) -> Result) -> Result {
        let mut chunk = Vec::with_capacity(CHUNK + self.piece);
        let (mut left, mut next) = (n_bytes, 0u32);
        while left > 0 {
            chunk.clear();
            while chunk.len() < CHUNK {
                let at = (element(seed, next) % self.pieces) as usize * self.piece;
                chunk.extend_from_slice(&self.bytes[at..at + self.piece]);
                next = next.wrapping_add(1);
            }
            chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            put(&chunk)?;
            left -= chunk.len() as u64;
        }
        Ok(())
    }
}

/// A number of nearly normal distribution, deviation 1: the sum of four even ones.
fn normal(seed: u32, k: u32) -> f32 {
    let (a, b) = (element(seed, k), hash(element(seed, k) ^ 0x9e37_79b9));
    let even = |bits: u32| (bits & 0xffff) as f32 / 65_536.0 - 0.5;
    // Each has the variance 1 / 12.
    (even(a) + even(a >> 16) + even(b) + even(b >> 16)) * 3.0f32.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use puna_core::quant::dequantize_row;

    #[test]
    fn values_have_their_deviation() {
        let mut pools = Pools::new(3, 512);
        let pool = pools.get(DType::Q8_0, 0.02).unwrap();
        let mut values = vec![0.0; PIECE * 100];
        let mut bytes = Vec::new();
        let n_bytes = DType::Q8_0.row_bytes(values.len()).unwrap() as u64;
        let mut keep = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            Ok(())
        };
        pool.stream(7, n_bytes, &mut keep).unwrap();
        dequantize_row(DType::Q8_0, &bytes, &mut values).unwrap();
        let n = values.len() as f32;
        let (mean, square) = (values.iter().sum::<f32>() / n, values.iter().map(|v| v * v).sum::<f32>() / n);
        assert!(mean.abs() < 0.001 && (square.sqrt() - 0.02).abs() < 0.001, "{mean} {}", square.sqrt());
    }

    #[test]
    fn tensors_end_where_they_should() {
        let mut pools = Pools::new(3, 512);
        let pool = pools.get(DType::Q4_0, 1.0).unwrap();
        for n in [18, 144, 145 * 18, (CHUNK as u64 / 18 + 3) * 18] {
            let mut found = 0;
            let count = |piece: &[u8]| {
                found += piece.len() as u64;
                Ok(())
            };
            pool.stream(1, n, count).unwrap();
            assert_eq!(found, n);
        }
    }
}
