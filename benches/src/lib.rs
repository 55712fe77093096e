//! What the benchmarks share: seeded weights, the devices of this machine, and the fetched model.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark fails by panicking")]

use puna_core::quant::{can_quantize, quantize_row};
use puna_core::{DType, Device, Elem, Mat, Region, Rows};
use puna_cpu::device::Threads;
use puna_cpu::{CpuDevice, CpuOptions};
use std::path::{Path, PathBuf};

/// SplitMix64, as numbers from -1 to 1.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// `n` numbers.
    pub fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.unit()).collect()
    }
}

/// The formats that weights come in.
pub fn formats() -> impl Iterator<Item = DType> {
    DType::ALL.into_iter().filter(|&t| can_quantize(t))
}

/// A matrix of seeded weights. One row is packed and repeated: the speed of a kernel does not depend on the values.
pub fn matrix(device: &mut dyn Device, dtype: DType, n_out: usize, n_in: usize) -> Mat {
    let mut row = vec![0; dtype.row_bytes(n_in).unwrap()];
    quantize_row(dtype, &Random(1).values(n_in), None, &mut row).unwrap();
    let weight = device.load(&Region::from_vec(row.repeat(n_out))).unwrap();
    Mat::plain(weight, dtype, n_out, n_in)
}

/// Rows of seeded activations in a new buffer.
pub fn rows(device: &mut dyn Device, n: usize, width: usize) -> Rows {
    let buf = device.alloc(Elem::F32, n * width).unwrap();
    device.write(buf, 0, &Random(2).values(n * width)).unwrap();
    Rows::new(buf, n, width)
}

/// The processor with the best kernels it has, on every core.
pub fn device() -> CpuDevice {
    CpuDevice::new(CpuOptions { threads: Threads::Count(threads()), ..CpuOptions::default() }).unwrap()
}

/// Threads that run at once here.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// The real model, if `cargo xtask models` has fetched it.
pub fn smollm2() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
    path.is_file().then_some(path)
}
