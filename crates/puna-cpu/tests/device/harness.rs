//! The devices that are compared, and random operands for them.

use crate::isas::isas;
use puna_core::ops::Op;
use puna_core::{DType, Device, Elem, Layout, Mat, RefDevice, Region, Rows, Vector, Weight, quant};
use puna_cpu::device::Threads;
use puna_cpu::matmul::Activations;
use puna_cpu::{CpuDevice, CpuOptions, ThreadPool};
use std::sync::Arc;

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// At least 1, at most one of these.
    pub(crate) fn width(&mut self, most: &[usize]) -> usize {
        let most = self.pick(most);
        1 + self.below(most)
    }

    /// In `-1.0..1.0`.
    pub(crate) fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(crate) fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}

pub(crate) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The reference first, then a device for every instruction set and several numbers of threads.
pub(crate) struct Devices(pub(crate) Vec<Box<dyn Device>>);

pub(crate) const THREADS: [usize; 4] = [1, 2, 3, 5];

impl Devices {
    pub(crate) fn new(pools: &[Arc<ThreadPool>]) -> Self {
        let mut all: Vec<Box<dyn Device>> = vec![Box::new(RefDevice::new())];
        for isa in isas() {
            for pool in pools {
                let threads = Threads::Shared(pool.clone());
                let options = CpuOptions { threads, isa: Some(isa), activations: Activations::F32 };
                all.push(Box::new(CpuDevice::new(options).unwrap()));
            }
        }
        Self(all)
    }

    pub(crate) fn load(&mut self, bytes: Vec<u8>) -> Weight {
        let region = Region::from_vec(bytes);
        self.same(|d| d.load(&region).unwrap())
    }

    pub(crate) fn same<T: PartialEq + std::fmt::Debug>(
        &mut self,
        mut f: impl FnMut(&mut dyn Device) -> T,
    ) -> T {
        let all: Vec<T> = self.0.iter_mut().map(|d| f(&mut **d)).collect();
        for (i, other) in all.iter().enumerate() {
            assert_eq!(*other, all[0], "device {i} differs from the reference");
        }
        all.into_iter().next().unwrap()
    }

    /// A vector at an offset that is not always aligned to anything.
    pub(crate) fn vector(&mut self, random: &mut Random, n: usize) -> Vector {
        let values = random.floats(n + 3);
        let odd = random.below(2);
        let mut data = vec![0; odd];
        data.extend(bytes(&values));
        let region = Region::from_vec(data).slice(odd..odd + values.len() * 4).unwrap();
        let weight = self.same(|d| d.load(&region).unwrap());
        Vector { weight, offset: random.below(3), len: n }
    }

    pub(crate) fn mat(
        &mut self,
        random: &mut Random,
        dtype: DType,
        n_out: usize,
        n_in: usize,
        layout: Layout,
    ) -> Mat {
        let (rows, width) = if layout == Layout::OutIn { (n_out, n_in) } else { (n_in, n_out) };
        let row_bytes = dtype.row_bytes(width).unwrap();
        let (offset, gap) = (random.below(5), random.below(3));
        let mut data = vec![0u8; offset + rows * (row_bytes + gap)];
        for row in data[offset..].chunks_exact_mut((row_bytes + gap).max(1)) {
            let values: Vec<f32> = (0..width).map(|_| random.float()).collect();
            quant::quantize_row(dtype, &values, None, &mut row[..row_bytes]).unwrap();
        }
        let weight = self.load(data);
        let scale = (random.below(2) == 0).then(|| self.vector(random, n_out));
        Mat { weight, dtype, n_out, n_in, offset, stride: row_bytes + gap, layout, scale }
    }

    /// Rows somewhere in a buffer.
    pub(crate) fn rows(&mut self, random: &mut Random, n_rows: usize, width: usize) -> Rows {
        let (before, after) = (random.below(5), random.below(5));
        let len = before + n_rows * width + after;
        let buf = self.same(|d| d.alloc(Elem::F32, len).unwrap());
        let values = random.floats(len);
        self.same(|d| d.write(buf, 0, &values).unwrap());
        Rows { buf, offset: before, n_rows, width }
    }

    pub(crate) fn issue<'a>(&mut self, op: impl Into<Op<'a>>) {
        let op = op.into();
        self.same(|d| d.issue(&op).unwrap());
    }

    /// The rows on every device: close to the reference, and the same bits whatever the number of threads.
    pub(crate) fn compare(&mut self, what: &str, rows: Rows, tolerance: f32) {
        let all: Vec<Vec<f32>> = self
            .0
            .iter_mut()
            .map(|d| {
                let mut values = vec![0.0; rows.len()];
                d.read(&rows, &mut values).unwrap();
                values
            })
            .collect();
        for (d, values) in all.iter().enumerate().skip(1) {
            for (i, (v, r)) in values.iter().zip(&all[0]).enumerate() {
                let name = self.0[d].info().name;
                let close = (v - r).abs() <= tolerance * r.abs().max(1.0) || (v.is_nan() && r.is_nan());
                assert!(close, "{what}, {name}: value {i} is {v}, the reference says {r}");
            }
        }
        for of_isa in all[1..].chunks(THREADS.len()) {
            for other in of_isa {
                let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(other), bits(&of_isa[0]), "{what}: the number of threads shows");
            }
        }
        self.same(|d| d.free(rows.buf));
    }
}

pub(crate) fn pools() -> Vec<Arc<ThreadPool>> {
    THREADS.map(|n| Arc::new(ThreadPool::new(n).unwrap())).to_vec()
}

/// Runs `f` with fresh devices and seeds, many times.
pub(crate) fn many(times: u64, mut f: impl FnMut(&mut Devices, &mut Random)) {
    let pools = pools();
    for seed in 0..times {
        f(&mut Devices::new(&pools), &mut Random(seed * 7919 + 1));
    }
}

pub(crate) const PLAIN: [DType; 4] = [DType::F32, DType::F16, DType::BF16, DType::F8E4M3];
pub(crate) const BLOCKS: [DType; 6] =
    [DType::Q4_0, DType::Q8_0, DType::Q5_1, DType::Q4_K, DType::Q6_K, DType::MXFP4];

/// A format, a layout it allows, and dimensions it allows, near `n_out` and `n_in`.
pub(crate) fn shape(random: &mut Random, n_out: usize, n_in: usize) -> (DType, Layout, usize, usize) {
    if random.below(2) == 0 {
        return (random.pick(&PLAIN), random.pick(&[Layout::OutIn, Layout::InOut]), n_out, n_in);
    }
    let dtype = random.pick(&BLOCKS);
    (dtype, Layout::OutIn, n_out, n_in.next_multiple_of(dtype.block_len()))
}
