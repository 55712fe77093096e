//! The GPU and the reference side by side: the same calls to both give the same handles.

use puna_core::quant::quantize_row;
use puna_core::{Buf, DType, Device, Elem, Layout, Mat, Op, RefDevice, Region, Rows, Vector, Weight};
use puna_gpu::{GpuDevice, Options, Tier};
use std::sync::LazyLock;

/// How far a result may be from the reference, which sums in F64, relative to the largest magnitude of the output.
///
/// One F32 rounding is 6e-8.
pub(crate) mod tolerance {
    /// Dequantisation: one or two roundings, and drivers may fuse a product and a sum.
    pub(crate) const DEQUANT: f32 = 5e-7;
    /// A sum of up to 300 products in F32, terms partly cancelling.
    pub(crate) const PRODUCT: f32 = 5e-6;
    /// The same of thousands of products, in parts of 32.
    pub(crate) const LONG: f32 = 2e-5;
    /// A sum of squares, a square root and a division (2.5 ulp in WGSL).
    pub(crate) const NORM: f32 = 2e-6;
    /// Sines and cosines of our own to about 1e-7, then two products and a sum.
    pub(crate) const ROPE: f32 = 1e-6;
    /// Sums of 32 products of bytes are exact; then as the others, but what a format adds to its values is summed apart from
    /// them and may cancel most of the sum.
    pub(crate) const PACKED: f32 = 2e-5;
    /// Activations rounded to a 127th of the largest of 32. Uniform ones are off by 0.0039 of their size on average, and so is
    /// a sum of independent products; the largest of some thousand sums is off by about as many deviations as it is large.
    pub(crate) const ROUNDED: f32 = 0.01;
    /// Two such factors, and another such product of them.
    pub(crate) const ROUNDED_TWICE: f32 = 0.03;
    /// Activations, weights and each step of a sum of four products rounded to 11 bits, up or down as the device likes: by at
    /// most 9.8e-4 each. Mesa's software driver rounds to zero, so that they add up.
    pub(crate) const HALF: f32 = 5e-3;
    /// Two such factors, and another such product of them.
    pub(crate) const HALF_TWICE: f32 = 1.5e-2;
    /// Products as above, and an exponential of up to (3 + 2 |x|) ulp by WGSL's bounds.
    pub(crate) const EXPONENTIAL: f32 = 1e-5;
}

static GPU: LazyLock<GpuDevice> = LazyLock::new(|| GpuDevice::open(&Options::new()).expect("a GPU adapter"));
/// One for each tier, in the order of [`Tier::ALL`].
static TIERS: LazyLock<Vec<Option<GpuDevice>>> = LazyLock::new(|| {
    let open = |tier| GpuDevice::open(&Options::new().tier(tier)).expect("an adapter with subgroups");
    Tier::ALL.into_iter().map(|tier| able(tier).then(|| open(tier))).collect()
});

/// Whether the adapter can have the tier: [`Tier::Lanes`] takes eight lanes, and SwiftShader has four.
pub(crate) fn able(tier: Tier) -> bool {
    static LANES: LazyLock<u32> =
        LazyLock::new(|| puna_gpu::list().first().and_then(|a| a.subgroup).map_or(0, |(least, _)| least));
    let able = tier != Tier::Lanes || *LANES >= 8;
    if !able {
        println!("skipped: {tier:?} takes eight lanes, this adapter has {}", *LANES);
    }
    able
}

/// Numbers that look random and are the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In -1 .. 1.
    pub(crate) fn float(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(crate) fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}

/// Where in its region a matrix begins, and what lies between its rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gaps {
    pub(crate) before: usize,
    pub(crate) between: usize,
}

pub(crate) struct Pair {
    pub(crate) gpu: Box<dyn Device>,
    pub(crate) reference: RefDevice,
    pub(crate) random: Random,
    /// Rows begin on multiples of so many elements.
    pub(crate) step: usize,
}

impl Pair {
    /// On the shared adapter.
    pub(crate) fn new(seed: u64) -> Self {
        Self::on(GPU.fork().unwrap(), seed)
    }

    pub(crate) fn on(gpu: Box<dyn Device>, seed: u64) -> Self {
        Pair { gpu, reference: RefDevice::new(), random: Random(seed), step: 1 }
    }

    /// On the shared adapter, in a tier that may not be its best, with rows that the tier takes.
    pub(crate) fn in_tier(tier: Tier, seed: u64) -> Self {
        let i = Tier::ALL.iter().position(|t| *t == tier).unwrap();
        Pair { step: 4, ..Self::on(TIERS[i].as_ref().unwrap().fork().unwrap(), seed) }
    }

    pub(crate) fn load(&mut self, bytes: Vec<u8>) -> Weight {
        let region = Region::from_vec(bytes);
        let weight = self.gpu.load(&region).unwrap();
        assert_eq!(self.reference.load(&region).unwrap(), weight);
        weight
    }

    pub(crate) fn alloc(&mut self, elem: Elem, len: usize) -> Buf {
        let buf = self.gpu.alloc(elem, len).unwrap();
        assert_eq!(self.reference.alloc(elem, len).unwrap(), buf);
        buf
    }

    pub(crate) fn write(&mut self, buf: Buf, at: usize, values: &[f32]) {
        self.gpu.write(buf, at, values).unwrap();
        self.reference.write(buf, at, values).unwrap();
    }

    /// Random rows that do not begin at the start of their buffer.
    pub(crate) fn rows(&mut self, n_rows: usize, width: usize) -> Rows {
        let before = (self.random.bits() % 100) as usize / self.step * self.step;
        let buf = self.alloc(Elem::F32, before + n_rows * width + 3);
        let values = self.random.floats(before + n_rows * width + 3);
        self.write(buf, 0, &values);
        Rows { buf, offset: before, n_rows, width }
    }

    /// A random vector somewhere in a region.
    pub(crate) fn vector(&mut self, len: usize) -> Vector {
        let before = (self.random.bits() % 90) as usize;
        let values = self.random.floats(before + len);
        let weight = self.load(values.iter().flat_map(|v| v.to_le_bytes()).collect());
        Vector { weight, offset: before, len }
    }

    /// The bytes of random rows in a format.
    pub(crate) fn packed(&mut self, dtype: DType, rows: usize, width: usize, gaps: Gaps) -> (Vec<u8>, usize) {
        let row_bytes = dtype.row_bytes(width).unwrap();
        let stride = row_bytes + gaps.between;
        let mut bytes: Vec<u8> = (0..gaps.before + rows * stride).map(|i| i as u8).collect();
        for r in 0..rows {
            let values = self.random.floats(width);
            let start = gaps.before + r * stride;
            quantize_row(dtype, &values, None, &mut bytes[start..start + row_bytes]).unwrap();
        }
        bytes.truncate(gaps.before + rows * stride - gaps.between);
        (bytes, stride)
    }

    /// A random matrix in a region of its own.
    pub(crate) fn mat(&mut self, dtype: DType, layout: Layout, n_out: usize, n_in: usize, gaps: Gaps) -> Mat {
        let mut mat = Mat { layout, ..Mat::plain(Weight(0), dtype, n_out, n_in) };
        let (rows, width) = mat.stored();
        let (bytes, stride) = self.packed(dtype, rows, width, gaps);
        (mat.weight, mat.offset, mat.stride) = (self.load(bytes), gaps.before, stride);
        mat
    }

    pub(crate) fn issue<'a>(&mut self, op: impl Into<Op<'a>>) {
        let op = op.into();
        self.gpu.issue(&op).unwrap_or_else(|e| panic!("{e}: {op:?}"));
        self.reference.issue(&op).unwrap_or_else(|e| panic!("reference: {e}: {op:?}"));
    }

    pub(crate) fn read(&mut self, rows: &Rows) -> (Vec<f32>, Vec<f32>) {
        let (mut found, mut expected) = (vec![0.0; rows.len()], vec![0.0; rows.len()]);
        self.gpu.read(rows, &mut found).unwrap();
        self.reference.read(rows, &mut expected).unwrap();
        (found, expected)
    }

    /// Both hold the same in the buffer, around the rows too.
    pub(crate) fn same(&mut self, rows: &Rows, tolerance: f32, case: &str) {
        let all = Rows { offset: 0, n_rows: 1, width: rows.offset + rows.len(), ..*rows };
        let (found, expected) = self.read(&all);
        close(&found, &expected, tolerance, case);
    }
}

/// Every value is within `tolerance` times the largest expected magnitude.
pub(crate) fn close(found: &[f32], expected: &[f32], tolerance: f32, case: &str) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        let off = (f - e).abs();
        assert!(off <= tolerance * largest, "{case}: {f} instead of {e} at {i}, off by {:e}", off / largest);
    }
}
