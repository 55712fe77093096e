//! Reading memory as fast as it goes.

use std::hint::black_box;

/// Looks at every byte once.
pub(crate) fn read(bytes: &[u8]) {
    #[inline(always)]
    fn read(bytes: &[u8]) -> [u64; 32] {
        let mut sums = [0u64; 32];
        for line in bytes.as_chunks::<256>().0 {
            for (sum, word) in sums.iter_mut().zip(line.as_chunks::<8>().0) {
                *sum ^= u64::from_ne_bytes(*word);
            }
        }
        sums
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn read_avx2(bytes: &[u8]) -> [u64; 32] {
        read(bytes)
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the feature was just detected.
        black_box(unsafe { read_avx2(bytes) });
        return;
    }
    black_box(read(bytes));
}
