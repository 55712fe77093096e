//! Every op of `CpuDevice` against the reference, on every instruction set of this machine and any number of threads.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use puna_core::ops::{
    AddRows, Attend, AttendAll, EmbedRows, ExpertFfn, Gelu, KvAppend, LayerNorm, MatMul, Op, Pairs, Picks,
    PixelShuffle, QkPrepare, RmsNorm, Rope, Rope2d, Route, SwiGlu, Temperature, Window,
};
use puna_core::{
    Buf, DType, Device, DeviceError, Elem, Expert, KvView, Layout, Mat, RefDevice, Region, Rows, Vector,
};
use puna_core::{Weight, quant};
use puna_cpu::device::Threads;
use puna_cpu::isa::Isa;
use puna_cpu::matmul::Activations;
use puna_cpu::{CpuDevice, CpuOptions, ThreadPool};
use std::sync::Arc;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// At least 1, at most one of these.
    fn width(&mut self, most: &[usize]) -> usize {
        let most = self.pick(most);
        1 + self.below(most)
    }

    /// In `-1.0..1.0`.
    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The reference first, then a device for every instruction set and several numbers of threads.
struct Devices(Vec<Box<dyn Device>>);

const THREADS: [usize; 4] = [1, 2, 3, 5];

impl Devices {
    fn new(pools: &[Arc<ThreadPool>]) -> Self {
        let mut all: Vec<Box<dyn Device>> = vec![Box::new(RefDevice::new())];
        for isa in Isa::available() {
            for pool in pools {
                let threads = Threads::Shared(pool.clone());
                let options = CpuOptions { threads, isa: Some(isa), activations: Activations::F32 };
                all.push(Box::new(CpuDevice::new(options).unwrap()));
            }
        }
        Self(all)
    }

    fn load(&mut self, bytes: Vec<u8>) -> Weight {
        let region = Region::from_vec(bytes);
        self.same(|d| d.load(&region).unwrap())
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, mut f: impl FnMut(&mut dyn Device) -> T) -> T {
        let all: Vec<T> = self.0.iter_mut().map(|d| f(&mut **d)).collect();
        for (i, other) in all.iter().enumerate() {
            assert_eq!(*other, all[0], "device {i} differs from the reference");
        }
        all.into_iter().next().unwrap()
    }

    /// A vector at an offset that is not always aligned to anything.
    fn vector(&mut self, random: &mut Random, n: usize) -> Vector {
        let values = random.floats(n + 3);
        let odd = random.below(2);
        let mut data = vec![0; odd];
        data.extend(bytes(&values));
        let region = Region::from_vec(data).slice(odd..odd + values.len() * 4).unwrap();
        let weight = self.same(|d| d.load(&region).unwrap());
        Vector { weight, offset: random.below(3), len: n }
    }

    fn mat(&mut self, random: &mut Random, dtype: DType, n_out: usize, n_in: usize, layout: Layout) -> Mat {
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
    fn rows(&mut self, random: &mut Random, n_rows: usize, width: usize) -> Rows {
        let (before, after) = (random.below(5), random.below(5));
        let len = before + n_rows * width + after;
        let buf = self.same(|d| d.alloc(Elem::F32, len).unwrap());
        let values = random.floats(len);
        self.same(|d| d.write(buf, 0, &values).unwrap());
        Rows { buf, offset: before, n_rows, width }
    }

    fn issue<'a>(&mut self, op: impl Into<Op<'a>>) {
        let op = op.into();
        self.same(|d| d.issue(&op).unwrap());
    }

    /// The rows on every device: close to the reference, and the same bits whatever the number of threads.
    fn compare(&mut self, what: &str, rows: Rows, tolerance: f32) {
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

fn pools() -> Vec<Arc<ThreadPool>> {
    THREADS.map(|n| Arc::new(ThreadPool::new(n).unwrap())).to_vec()
}

/// Runs `f` with fresh devices and seeds, many times.
fn many(times: u64, mut f: impl FnMut(&mut Devices, &mut Random)) {
    let pools = pools();
    for seed in 0..times {
        f(&mut Devices::new(&pools), &mut Random(seed * 7919 + 1));
    }
}

const PLAIN: [DType; 4] = [DType::F32, DType::F16, DType::BF16, DType::F8E4M3];
const BLOCKS: [DType; 6] = [DType::Q4_0, DType::Q8_0, DType::Q5_1, DType::Q4_K, DType::Q6_K, DType::MXFP4];

/// A format, a layout it allows, and dimensions it allows, near `n_out` and `n_in`.
fn shape(random: &mut Random, n_out: usize, n_in: usize) -> (DType, Layout, usize, usize) {
    if random.below(2) == 0 {
        return (random.pick(&PLAIN), random.pick(&[Layout::OutIn, Layout::InOut]), n_out, n_in);
    }
    let dtype = random.pick(&BLOCKS);
    (dtype, Layout::OutIn, n_out, n_in.next_multiple_of(dtype.block_len()))
}

#[test]
fn matmul() {
    many(30, |devices, random| {
        let n_rows = random.pick(&[1, 1, 2, 3, 5, 17, 33, 70]);
        let (n_out, n_in) = (1 + random.below(150), 1 + random.below(300));
        let (dtype, layout, n_out, n_in) = shape(random, n_out, n_in);
        let w = devices.mat(random, dtype, n_out, n_in, layout);
        let bias = (random.below(2) == 0).then(|| devices.vector(random, n_out));
        let (x, out) = (devices.rows(random, n_rows, n_in), devices.rows(random, n_rows, n_out));
        devices.issue(MatMul { x, w: &w, bias, out, add: random.below(2) == 0 });
        devices.compare(&format!("MatMul {dtype} {layout:?} {n_rows}x{n_in}x{n_out}"), out, 2e-5);
    });
}

#[test]
fn large_matmul_is_shared_among_threads() {
    many(1, |devices, random| {
        let w = devices.mat(random, DType::Q8_0, 300, 512, Layout::OutIn);
        for n_rows in [1, 40, 600] {
            let (x, out) = (devices.rows(random, n_rows, 512), devices.rows(random, n_rows, 300));
            devices.issue(MatMul { x, w: &w, bias: None, out, add: false });
            devices.compare("large MatMul", out, 5e-5);
        }
    });
}

#[test]
fn swiglu() {
    many(20, |devices, random| {
        let n_rows = random.pick(&[1, 2, 9, 40]);
        let (dtype, layout, n_ff, n_in) = {
            let (n_ff, n_in) = (1 + random.below(120), 1 + random.below(200));
            shape(random, n_ff, n_in)
        };
        let gate = devices.mat(random, dtype, n_ff, n_in, layout);
        let up_dtype = if n_in.is_multiple_of(32) { DType::Q8_0 } else { DType::F16 };
        let up = devices.mat(random, up_dtype, n_ff, n_in, Layout::OutIn);
        let (x, out) = (devices.rows(random, n_rows, n_in), devices.rows(random, n_rows, n_ff));
        devices.issue(SwiGlu { x, gate: &gate, up: &up, out });
        devices.compare(&format!("SwiGlu {dtype} {layout:?} {n_rows}x{n_in}x{n_ff}"), out, 5e-5);
    });
}

#[test]
fn embed_rows() {
    many(10, |devices, random| {
        let (dtype, _, vocab, hidden) = shape(random, 50, 100);
        let table = devices.mat(random, dtype, vocab, hidden, Layout::OutIn);
        let tokens: Vec<u32> = (0..1 + random.below(40)).map(|_| random.below(vocab) as u32).collect();
        let out = devices.rows(random, tokens.len(), hidden);
        devices.issue(EmbedRows { table: &table, tokens: &tokens, out });
        devices.compare("EmbedRows", out, 0.0);
    });
}

#[test]
fn rms_norm() {
    many(20, |devices, random| {
        let (n_rows, width) = (1 + random.below(60), 1 + random.below(3000));
        let weight = devices.vector(random, width);
        let (x, out) = (devices.rows(random, n_rows, width), devices.rows(random, n_rows, width));
        devices.issue(RmsNorm { x, weight, eps: 1e-5, out });
        devices.compare("RmsNorm", out, 4e-7);
    });
}

#[test]
fn qk_prepare() {
    many(30, |devices, random| {
        let head_dim = random.pick(&[4, 6, 16, 20, 64, 80, 128]);
        let (n_rows, heads) = (1 + random.below(70), 1 + random.below(8));
        let x = devices.rows(random, n_rows, heads * head_dim);
        let pairs = random.pick(&[Pairs::Interleaved, Pairs::Half]);
        let n = 1 + random.below(head_dim / 2);
        let freq: Vec<f32> = (0..n).map(|j| 500_000f32.powf(-(2.0 * j as f32) / (2 * n) as f32)).collect();
        let inv_freq = Vector { weight: devices.load(bytes(&freq)), offset: 0, len: n };
        let op = QkPrepare {
            x,
            head_dim,
            pos: random.pick(&[0, 1, 8190, 262_143, 9_999_000]),
            rope: (random.below(3) > 0).then_some(Rope { inv_freq, pairs }),
            norm_eps: (random.below(2) == 0).then_some(1e-5),
            temperature: (random.below(2) == 0).then_some(Temperature { floor_scale: 8192.0, scale: 0.1 }),
        };
        devices.issue(op.clone());
        // Again, from the table of angles that is there now.
        devices.issue(op);
        devices.compare("QkPrepare", x, 1e-6);
    });
}

/// A cache with random contents up to `pos`, filled by appending in pieces of random size.
fn cache(devices: &mut Devices, random: &mut Random, end: u64, view: &mut KvView<'_>, blocks: &mut Vec<Buf>) {
    let width = view.n_kv_heads * view.head_dim;
    let n_blocks = ((end - view.first) as usize).div_ceil(view.block_tokens) + random.below(2);
    *blocks =
        (0..n_blocks).map(|_| devices.same(|d| d.alloc(view.elem, view.block_len()).unwrap())).collect();
    let mut pos = view.first;
    while pos < end {
        let n = 1 + random.below((end - pos).min(40) as usize);
        let (k, v) = (devices.rows(random, n, width), devices.rows(random, n, width));
        devices.issue(KvAppend { k, v, kv: &KvView { blocks, ..*view }, pos });
        devices.same(|d| {
            d.free(v.buf);
            d.free(k.buf);
        });
        pos += n as u64;
    }
}

#[test]
fn attend() {
    many(60, |devices, random| {
        let head_dim = random.pick(&[4, 7, 12, 16, 32, 40, 64, 96, 128]);
        let (n_kv_heads, group) = (1 + random.below(3), 1 + random.below(8));
        let window =
            random.pick(&[Window::Full, Window::Full, Window::Chunk(32), Window::Chunk(7), Window::Chunk(0)]);
        let (pos, n_rows) = (random.below(300) as u64, random.pick(&[1, 1, 2, 5, 33, 64]));
        let first = random.below(window.start(pos) as usize + 1) as u64;
        let elem = random.pick(&[Elem::F16, Elem::F32]);
        let block_tokens = random.pick(&[1, 16, 50, 64, 256]);
        let mut view = KvView { blocks: &[], block_tokens, first, n_kv_heads, head_dim, elem };
        let mut blocks = Vec::new();
        cache(devices, random, pos + n_rows as u64, &mut view, &mut blocks);
        let kv = KvView { blocks: &blocks, ..view };
        let width = n_kv_heads * group * head_dim;
        let (q, out) = (devices.rows(random, n_rows, width), devices.rows(random, n_rows, width));
        devices.issue(Attend { q, kv: &kv, out, pos, scale: 1.0 / (head_dim as f32).sqrt(), window });
        let what =
            format!("Attend d {head_dim} heads {n_kv_heads}x{group} {window:?} at {pos}+{n_rows} {elem:?}");
        devices.compare(&what, out, 2e-6);
    });
}

#[test]
fn attend_over_many_keys() {
    many(2, |devices, random| {
        let (head_dim, n_kv_heads, group) = (64, 2, 3);
        let (pos, n_rows) = (6000, random.pick(&[1, 9]));
        let mut view =
            KvView { blocks: &[], block_tokens: 256, first: 0, n_kv_heads, head_dim, elem: Elem::F16 };
        let mut blocks = Vec::new();
        cache(devices, random, pos + n_rows as u64, &mut view, &mut blocks);
        let kv = KvView { blocks: &blocks, ..view };
        let width = n_kv_heads * group * head_dim;
        let (q, out) = (devices.rows(random, n_rows, width), devices.rows(random, n_rows, width));
        devices.issue(Attend { q, kv: &kv, out, pos, scale: 2.0, window: Window::Full });
        devices.compare("Attend over many keys", out, 2e-6);
    });
}

/// What a query may not see may hold anything: later positions, other chunks, slots that were never written.
#[test]
fn attention_does_not_touch_what_it_may_not_see() {
    many(8, |devices, random| {
        let (head_dim, n_kv_heads, group, chunk) = (16, 2, 2, 8);
        let width = n_kv_heads * head_dim;
        let blocks: Vec<Buf> =
            (0..2).map(|_| devices.same(|d| d.alloc(Elem::F32, 2 * width * 16).unwrap())).collect();
        let kv =
            KvView { blocks: &blocks, block_tokens: 16, first: 0, n_kv_heads, head_dim, elem: Elem::F32 };
        let (k, v) = (devices.rows(random, 24, width), devices.rows(random, 24, width));
        devices.issue(KvAppend { k, v, kv: &kv, pos: 0 });
        let poison = vec![f32::NAN; width];
        for bad in [0u64, 7, 16, 23] {
            let rows = devices.rows(random, 1, width);
            devices.same(|d| d.write(rows.buf, rows.offset, &poison).unwrap());
            devices.issue(KvAppend { k: rows, v: rows, kv: &kv, pos: bad });
        }
        let (q, out) = (devices.rows(random, 20, width * group), devices.rows(random, 20, width * group));
        devices.issue(Attend { q, kv: &kv, out, pos: 3, scale: 0.25, window: Window::Chunk(chunk) });
        devices.compare("Attend beside NaN", out, 2e-6);
    });
}

#[test]
fn route() {
    many(20, |devices, random| {
        let (n_rows, hidden, n_experts) =
            (1 + random.below(40), 1 + random.below(200), 1 + random.below(130));
        let dtype = random.pick(&[DType::F32, DType::BF16]);
        let top_k = 1 + random.below(n_experts.min(3));
        let router = devices.mat(random, dtype, n_experts, hidden, Layout::OutIn);
        let x = devices.rows(random, n_rows, hidden);
        let ids = devices.same(|d| d.alloc(Elem::U32, n_rows * top_k).unwrap());
        let scores = devices.rows(random, n_rows, top_k);
        let scores = Rows { offset: 0, ..scores };
        let picks = Picks { ids, scores: scores.buf, top_k };
        devices.issue(Route { x, router: &router, picks });
        devices.compare("Route", scores, 1e-5);
    });
}

#[test]
fn equal_and_missing_logits_go_to_the_lowest_index() {
    let pools = pools();
    let mut devices = Devices::new(&pools);
    // Expert e has the weight [a, b] = rows below; x = [1, 0] and [0, 1].
    let table = [[1.0, f32::NAN], [2.0, f32::NAN], [2.0, 3.0], [-1.0, f32::NAN]];
    let weight = devices.load(bytes(&table.concat()));
    let router = Mat::plain(weight, DType::F32, 4, 2);
    let x = devices.same(|d| d.alloc(Elem::F32, 2).unwrap());
    let ids = devices.same(|d| d.alloc(Elem::U32, 4).unwrap());
    let scores = devices.same(|d| d.alloc(Elem::F32, 4).unwrap());
    // The order shows in an expert that adds `100 e + score`-like values, so read it through ExpertFfn.
    let (one, out) = devices.same(|d| (d.alloc(Elem::F32, 1).unwrap(), d.alloc(Elem::F32, 1).unwrap()));
    devices.same(|d| d.write(x, 0, &[1.0, 1.0]).unwrap());
    devices.same(|d| d.write(one, 0, &[1.0]).unwrap());
    let experts: Vec<Expert> = (0..4)
        .map(|e| {
            let mut mat = |v: f32| Mat::plain(devices.load(bytes(&[v])), DType::F32, 1, 1);
            Expert { gate: mat(20.0), up: mat(1.0), down: mat(10f32.powi(e)) }
        })
        .collect();
    for top_k in 1..=4 {
        let picks = Picks { ids, scores, top_k };
        devices.issue(Route { x: Rows::new(x, 1, 2), router: &router, picks });
        let rows = Rows::new(one, 1, 1);
        devices.issue(ExpertFfn { x: rows, experts: &experts, picks, out: Rows::new(out, 1, 1) });
        let sum = devices.0.iter_mut().map(|d| {
            let mut v = [0.0];
            d.read(&Rows::new(out, 1, 1), &mut v).unwrap();
            v[0]
        });
        let sum: Vec<f32> = sum.collect();
        assert!(sum.iter().all(|s| (s - sum[0]).abs() <= 1e-5 * sum[0].abs()), "top {top_k}: {sum:?}");
    }
}

#[test]
fn expert_ffn() {
    many(30, |devices, random| {
        let (n_rows, n_experts) = (random.pick(&[1, 1, 2, 7, 40, 130]), 1 + random.below(9));
        let top_k = 1 + random.below(n_experts.min(3));
        let (hidden, n_ff) = (32 * (1 + random.below(4)), 32 * (1 + random.below(4)));
        let experts: Vec<Expert> = (0..n_experts)
            .map(|_| {
                let mut mat = |n_out, n_in| {
                    let dtype = random.pick(&[DType::Q8_0, DType::F16, DType::F32, DType::Q4_0]);
                    let layout = if dtype.is_plain() {
                        random.pick(&[Layout::OutIn, Layout::InOut])
                    } else {
                        Layout::OutIn
                    };
                    devices.mat(random, dtype, n_out, n_in, layout)
                };
                Expert { gate: mat(n_ff, hidden), up: mat(n_ff, hidden), down: mat(hidden, n_ff) }
            })
            .collect();
        // Choices come from a router; making it biased leaves some experts without rows.
        let router = devices.mat(random, DType::F32, n_experts, hidden, Layout::OutIn);
        let (x, out) = (devices.rows(random, n_rows, hidden), devices.rows(random, n_rows, hidden));
        let ids = devices.same(|d| d.alloc(Elem::U32, n_rows * top_k).unwrap());
        let scores = devices.same(|d| d.alloc(Elem::F32, n_rows * top_k).unwrap());
        let picks = Picks { ids, scores, top_k };
        devices.issue(Route { x, router: &router, picks });
        devices.issue(ExpertFfn { x, experts: &experts, picks, out });
        devices.compare(&format!("ExpertFfn {n_experts} experts, top {top_k}, {n_rows} rows"), out, 2e-4);
    });
}

#[test]
fn forks_share_until_one_writes() {
    let pools = pools();
    let mut devices = Devices::new(&pools);
    for device in &mut devices.0 {
        let w = device.load(&Region::from_vec(bytes(&[2.0; 4]))).unwrap();
        let (a, b) = (device.alloc(Elem::F32, 4).unwrap(), device.alloc(Elem::F32, 4).unwrap());
        device.write(a, 0, &[1.0, 2.0, 3.0, 4.0]).unwrap();
        let mut fork = device.fork().unwrap();
        let norm = |out| RmsNorm {
            x: Rows::new(a, 1, 4),
            weight: Vector { weight: w, offset: 0, len: 4 },
            eps: 0.0,
            out: Rows::new(out, 1, 4),
        };
        let read = |d: &mut Box<dyn Device>, buf| {
            let mut v = [0.0; 4];
            d.read(&Rows::new(buf, 1, 4), &mut v).unwrap();
            v
        };
        fork.issue(&norm(b).into()).unwrap();
        assert_eq!(read(device, b), [0.0; 4]);
        assert_ne!(read(&mut fork, b), [0.0; 4]);
        device.write(a, 1, &[9.0]).unwrap();
        assert_eq!(read(&mut fork, a), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(read(device, a), [1.0, 9.0, 3.0, 4.0]);
        // The fork's table is its own too.
        fork.free(a);
        assert_eq!(fork.alloc(Elem::F32, 2).unwrap(), a);
        assert_eq!(read(device, a), [1.0, 9.0, 3.0, 4.0]);
        assert!(fork.read(&Rows::new(a, 1, 4), &mut [0.0; 4]).is_err());
    }
}

/// Two sessions on one pool at once, one of which must then do without the other threads.
#[test]
fn devices_that_share_a_pool_work_at_the_same_time() {
    let pool = Arc::new(ThreadPool::new(2).unwrap());
    let options = CpuOptions { threads: Threads::Shared(pool), ..CpuOptions::default() };
    let mut device = CpuDevice::new(options).unwrap();
    let values = Random(1).floats(512 * 512);
    let w = Mat::plain(device.load(&Region::from_vec(bytes(&values))).unwrap(), DType::F32, 512, 512);
    let (x, out) = (device.alloc(Elem::F32, 512 * 8).unwrap(), device.alloc(Elem::F32, 512 * 8).unwrap());
    device.write(x, 0, &values[..512 * 8]).unwrap();
    let mut forks: Vec<Box<dyn Device>> = (0..3).map(|_| device.fork().unwrap()).collect();
    let (x, out) = (Rows::new(x, 8, 512), Rows::new(out, 8, 512));
    let results: Vec<Vec<f32>> = std::thread::scope(|scope| {
        let run = |d: &mut Box<dyn Device>| {
            let mut read = vec![0.0; out.len()];
            for _ in 0..200 {
                d.issue(&MatMul { x, w: &w, bias: None, out, add: false }.into()).unwrap();
            }
            d.read(&out, &mut read).unwrap();
            read
        };
        let threads: Vec<_> = forks.iter_mut().map(|d| scope.spawn(move || run(d))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(results[0].iter().any(|&v| v != 0.0));
    assert!(results.iter().all(|r| *r == results[0]));
}

#[test]
fn bad_operands_are_typed_errors_and_change_nothing() {
    let mut d = CpuDevice::new(CpuOptions { threads: Threads::Count(2), ..CpuOptions::default() }).unwrap();
    let weight = d.load(&Region::from_vec(bytes(&[1.0; 64]))).unwrap();
    let (a, b) = (d.alloc(Elem::F32, 8).unwrap(), d.alloc(Elem::F32, 8).unwrap());
    let (ids, half) = (d.alloc(Elem::U32, 8).unwrap(), d.alloc(Elem::F16, 64).unwrap());
    let w = Mat::plain(weight, DType::F32, 8, 8);
    let row = |buf| Rows::new(buf, 1, 8);
    let matmul = |w, x, out| d_issue(MatMul { x, w, bias: None, out, add: false });
    fn d_issue<'a>(op: impl Into<Op<'a>>) -> Op<'a> {
        op.into()
    }
    let handle = |op, what| DeviceError::Handle { op, what };
    let (no_buf, no_weight) = (Buf(77), Mat { weight: Weight(9), ..w });
    let past = Mat { offset: 4, ..w };
    let far = Rows { offset: usize::MAX - 2, ..row(a) };
    let bias = Some(Vector { weight, offset: 60, len: 8 });
    let cases: Vec<(Op<'_>, DeviceError)> = vec![
        (matmul(&w, row(no_buf), row(b)), handle("MatMul", "input rows")),
        (matmul(&w, row(a), row(no_buf)), handle("MatMul", "output rows")),
        (matmul(&w, row(a), row(ids)), handle("MatMul", "output rows")),
        (matmul(&w, row(half), row(b)), handle("MatMul", "input rows")),
        (matmul(&w, far, row(b)), handle("MatMul", "input rows")),
        (matmul(&w, Rows { offset: 1, ..row(a) }, row(b)), handle("MatMul", "input rows")),
        (matmul(&no_weight, row(a), row(b)), handle("MatMul", "matrix")),
        (matmul(&past, row(a), row(b)), handle("MatMul", "matrix")),
        (matmul(&w, row(a), row(a)), DeviceError::Aliased { op: "MatMul" }),
        (d_issue(MatMul { x: row(a), w: &w, bias, out: row(b), add: false }), handle("MatMul", "vector")),
        (
            d_issue(Route { x: row(a), router: &w, picks: Picks { ids: b, scores: b, top_k: 1 } }),
            DeviceError::Aliased { op: "Route" },
        ),
        (
            d_issue(Route { x: row(a), router: &w, picks: Picks { ids, scores: a, top_k: 1 } }),
            DeviceError::Aliased { op: "Route" },
        ),
        (
            d_issue(Route {
                x: Rows::new(a, 1, 8),
                router: &w,
                picks: Picks { ids: half, scores: b, top_k: 1 },
            }),
            handle("Route", "picks"),
        ),
    ];
    d.write(b, 0, &[5.0; 8]).unwrap();
    for (op, error) in cases {
        assert_eq!(d.issue(&op), Err(error), "{op:?}");
    }
    let mut values = [0.0; 8];
    d.read(&row(b), &mut values).unwrap();
    assert_eq!(values, [5.0; 8]);
    let kv =
        KvView { blocks: &[half], block_tokens: 4, first: 0, n_kv_heads: 1, head_dim: 16, elem: Elem::F16 };
    let k = Rows::new(a, 1, 16);
    let error = d.issue(&KvAppend { k, v: k, kv: &kv, pos: 0 }.into());
    assert_eq!(error, Err(handle("KvAppend", "key/value block")));
    assert_eq!(d.write(a, 7, &[0.0; 2]), Err(handle("write", "output rows")));
    assert_eq!(d.write(a, usize::MAX, &[0.0; 2]), Err(handle("write", "output rows")));
    assert!(matches!(d.read(&row(a), &mut [0.0; 3]), Err(DeviceError::Shape { .. })));
    for len in [usize::MAX, usize::MAX / 4, 1 << 60] {
        assert!(matches!(d.alloc(Elem::F32, len), Err(DeviceError::OutOfMemory { .. })));
    }
    d.issue(&matmul(&w, row(a), row(b))).unwrap();
}

#[test]
fn handles_are_used_again() {
    let mut d = CpuDevice::new(CpuOptions::default()).unwrap();
    let bufs: Vec<Buf> = (0..10).map(|_| d.alloc(Elem::F32, 4).unwrap()).collect();
    d.write(bufs[3], 0, &[1.0; 4]).unwrap();
    d.free(bufs[3]);
    d.free(bufs[3]);
    let again = d.alloc(Elem::F32, 4).unwrap();
    assert_eq!(again, bufs[3]);
    let mut values = [9.0; 4];
    d.read(&Rows::new(again, 1, 4), &mut values).unwrap();
    assert_eq!(values, [0.0; 4], "a new buffer is zeros");
    assert_ne!(d.alloc(Elem::F32, 4).unwrap(), again, "freed twice, handed out once");
}

#[test]
fn the_device_says_what_it_is() {
    let d = CpuDevice::new(CpuOptions {
        threads: Threads::Count(2),
        isa: Some(Isa::Scalar),
        ..CpuOptions::default()
    });
    let info = d.unwrap().info();
    assert_eq!(info.name, "cpu scalar, 2 threads");
    assert_eq!(info.kernels.len(), DType::ALL.len());
}

#[test]
fn layer_norm_and_gelu() {
    many(20, |devices, random| {
        let (n, width) = (1 + random.below(40), random.width(&[9, 100, 3000]));
        let (weight, bias) = (devices.vector(random, width), devices.vector(random, width));
        let (x, out) = (devices.rows(random, n, width), devices.rows(random, n, width));
        devices.issue(LayerNorm { x, weight, bias, eps: 1e-5, out });
        devices.compare("LayerNorm", out, 4e-6);
        devices.issue(Gelu { x });
        devices.compare("Gelu", x, 4e-7);
    });
    // Far out, where erfc is tiny or 2.
    many(1, |devices, random| {
        let x = devices.rows(random, 1, 4001);
        let values: Vec<f32> = (0..4001).map(|i| (i as f32 - 2000.0) / 100.0).collect();
        devices.same(|d| d.write(x.buf, x.offset, &values).unwrap());
        devices.issue(Gelu { x });
        devices.compare("Gelu", x, 4e-7);
    });
}

#[test]
fn positions_rotation_and_shuffle_of_patches() {
    many(20, |devices, random| {
        let factor = 1 + random.below(3);
        let (grid, tiles) = (factor * (1 + random.below(5)), 1 + random.below(4));
        let (heads, n) = (1 + random.below(4), 1 + random.below(9));
        let (rows, width) = (grid * grid + 1, heads * 4 * n);
        let x = devices.rows(random, tiles * rows, width);
        let table = devices.vector(random, rows * width);
        devices.issue(AddRows { x, table });
        let inv_freq = devices.vector(random, n);
        devices.issue(Rope2d { x, grid, inv_freq });
        let out = devices.rows(random, tiles * (grid / factor).pow(2), width * factor * factor);
        devices.issue(PixelShuffle { x, grid, factor, out });
        devices.compare("PixelShuffle", out, 1e-6);
        devices.compare("Rope2d", x, 1e-6);
    });
}

#[test]
fn attention_in_both_directions() {
    many(15, |devices, random| {
        let (groups, group) = (1 + random.below(3), random.width(&[5, 48, 49, 80, 150]));
        let (heads, head_dim) = (1 + random.below(4), random.width(&[8, 100]));
        let (n, width) = (groups * group, heads * head_dim);
        let [q, k, v, out] = [0; 4].map(|_| devices.rows(random, n, width));
        let scale = 1.0 / (head_dim as f32).sqrt();
        devices.issue(AttendAll { q, k, v, out, group, head_dim, scale });
        devices.compare("AttendAll", out, 2e-6);
    });
}

#[test]
fn broken_vision_ops_are_refused() {
    many(1, |devices, random| {
        let [a, b, c, out] = [0; 4].map(|_| devices.rows(random, 10, 8));
        let v = devices.vector(random, 8);
        let two = Vector { len: 2, ..v };
        let attend = AttendAll { q: a, k: b, v: c, out, group: 5, head_dim: 4, scale: 1.0 };
        let wide = Rows { width: 16, ..out };
        let broken: Vec<Op<'_>> = vec![
            LayerNorm { x: a, weight: v, bias: two, eps: 0.0, out }.into(),
            LayerNorm { x: a, weight: v, bias: v, eps: 0.0, out: a }.into(),
            AddRows { x: a, table: Vector { len: 24, ..v } }.into(),
            AddRows { x: a, table: two }.into(),
            AddRows { x: a, table: Vector { len: 0, ..v } }.into(),
            Rope2d { x: a, grid: 2, inv_freq: two }.into(),
            Rope2d { x: Rows { n_rows: 6, ..a }, grid: 2, inv_freq: two }.into(),
            Rope2d { x: a, grid: 3, inv_freq: Vector { len: 3, ..v } }.into(),
            Rope2d { x: a, grid: usize::MAX, inv_freq: two }.into(),
            AttendAll { group: 3, ..attend.clone() }.into(),
            AttendAll { group: 0, ..attend.clone() }.into(),
            AttendAll { head_dim: 3, ..attend.clone() }.into(),
            AttendAll { head_dim: 0, ..attend.clone() }.into(),
            AttendAll { out: a, ..attend.clone() }.into(),
            AttendAll { k: wide, ..attend }.into(),
            PixelShuffle { x: a, grid: 3, factor: 2, out }.into(),
            PixelShuffle { x: a, grid: 3, factor: 0, out }.into(),
            PixelShuffle { x: a, grid: 3, factor: 3, out: wide }.into(),
        ];
        // `grid: 2` takes tiles of five rows, so the sixth of the list is the one that is right.
        for (i, op) in broken.iter().enumerate() {
            let results = devices.same(|d| d.issue(op).is_err());
            assert_eq!(results, i != 5, "{op:?}");
        }
    });
}
