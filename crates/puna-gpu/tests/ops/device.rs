//! The device itself: order, forks, limits, counts, and everything that can go wrong.

use crate::pair::{Pair, close};
use crate::rows::TIGHT;
use puna_core::ops::{EmbedRows, MatMul, RmsNorm};
use puna_core::{Buf, DType, Device, DeviceError, Elem, Layout, Mat, Place, Region, Rows, Vector, Weight};
use puna_gpu::interop::{self, wgpu};
use puna_gpu::{GpuDevice, OpenError, Options};

fn f32s(values: &[f32]) -> Region {
    Region::from_vec(values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn open() -> GpuDevice {
    GpuDevice::open(&Options::new()).unwrap()
}

fn read(device: &mut dyn Device, rows: Rows) -> Vec<f32> {
    let mut values = vec![f32::NAN; rows.len()];
    device.read(&rows, &mut values).unwrap();
    values
}

/// A 1 x 1 matrix that multiplies by `factor`.
fn times(device: &mut dyn Device, factor: f32) -> Mat {
    Mat::plain(device.load(&f32s(&[factor])).unwrap(), DType::F32, 1, 1)
}

#[test]
fn writes_and_ops_take_effect_in_order() {
    let mut gpu = open();
    let w = times(&mut gpu, 2.0);
    // Small writes travel with the ops, large ones by themselves.
    for len in [1, 100_000] {
        let (x, out) = (gpu.alloc(Elem::F32, len).unwrap(), gpu.alloc(Elem::F32, 3).unwrap());
        for i in 0..3 {
            gpu.write(x, 0, &vec![i as f32 + 1.0; len]).unwrap();
            let out = Rows { buf: out, offset: i, n_rows: 1, width: 1 };
            gpu.issue(&MatMul { x: Rows::new(x, 1, 1), w: &w, bias: None, out, add: false }.into()).unwrap();
        }
        assert_eq!(read(&mut gpu, Rows::new(out, 1, 3)), [2.0, 4.0, 6.0]);
        assert_eq!(read(&mut gpu, Rows::new(x, 1, len)), vec![3.0; len]);
        gpu.free(x);
        gpu.free(out);
    }
}

#[test]
fn buffers_begin_as_zeros_and_handles_are_reused() {
    let mut gpu = open();
    let a = gpu.alloc(Elem::F32, 5).unwrap();
    gpu.write(a, 1, &[1.0, 2.0]).unwrap();
    assert_eq!(read(&mut gpu, Rows::new(a, 1, 5)), [0.0, 1.0, 2.0, 0.0, 0.0]);
    gpu.free(a);
    let b = gpu.alloc(Elem::F32, 5).unwrap();
    assert_eq!(a, b);
    assert_eq!(read(&mut gpu, Rows::new(b, 1, 5)), [0.0; 5]);
}

#[test]
fn forks_are_independent() {
    let mut gpu = open();
    let w = times(&mut gpu, 3.0);
    let (x, out) = (gpu.alloc(Elem::F32, 1).unwrap(), gpu.alloc(Elem::F32, 1).unwrap());
    let (x, out) = (Rows::new(x, 1, 1), Rows::new(out, 1, 1));
    gpu.write(x.buf, 0, &[1.0]).unwrap();
    let op = MatMul { x, w: &w, bias: None, out, add: true };
    // Recorded and not yet submitted when the fork is made.
    gpu.issue(&op.clone().into()).unwrap();
    let mut fork = gpu.fork().unwrap();
    fork.write(x.buf, 0, &[10.0]).unwrap();
    fork.issue(&op.clone().into()).unwrap();
    gpu.issue(&op.into()).unwrap();
    assert_eq!(read(&mut gpu, out), [6.0]);
    assert_eq!(read(&mut *fork, out), [33.0]);
    let threads = std::thread::spawn(move || read(&mut *fork, out));
    assert_eq!(threads.join().unwrap(), [33.0]);
}

#[test]
fn counts_and_facts() {
    let mut gpu = open();
    let w = times(&mut gpu, 2.0);
    let (x, out) = (gpu.alloc(Elem::F32, 1).unwrap(), gpu.alloc(Elem::F32, 1).unwrap());
    let (x, out) = (Rows::new(x, 1, 1), Rows::new(out, 1, 1));
    let before = gpu.counts();
    for _ in 0..100 {
        gpu.issue(&MatMul { x, w: &w, bias: None, out, add: false }.into()).unwrap();
    }
    assert_eq!(gpu.counts().dispatches - before.dispatches, 100);
    assert_eq!(gpu.counts().submits, before.submits);
    read(&mut gpu, out);
    assert_eq!(gpu.counts().submits - before.submits, 1);
    assert_eq!(gpu.counts().reads - before.reads, 1);
    let info = gpu.info();
    assert!(info.name.starts_with("gpu "), "{}", info.name);
    assert_eq!(info.kernels.len(), 17);
}

/// More dispatches than one submit's parameters hold.
#[test]
fn long_recordings_are_split() {
    let mut gpu = open();
    let w = times(&mut gpu, 1.0);
    let (x, out) = (gpu.alloc(Elem::F32, 1).unwrap(), gpu.alloc(Elem::F32, 1).unwrap());
    let (x, out) = (Rows::new(x, 1, 1), Rows::new(out, 1, 1));
    gpu.write(x.buf, 0, &[1.0]).unwrap();
    for _ in 0..5000 {
        gpu.issue(&MatMul { x, w: &w, bias: None, out, add: true }.into()).unwrap();
    }
    assert_eq!(read(&mut gpu, out), [5000.0]);
    assert!(gpu.counts().submits > 1);
}

#[test]
fn webgpu_default_limits_suffice() {
    let gpu = GpuDevice::open(&Options::new().default_limits(true)).unwrap();
    let mut pair = Pair::on(Box::new(gpu), 11);
    let w = pair.mat(DType::Q4_K, Layout::OutIn, 200, 256, TIGHT);
    let (x, out) = (pair.rows(10, 256), pair.rows(10, 200));
    pair.issue(MatMul { x, w: &w, bias: None, out, add: false });
    pair.same(&out, crate::pair::tolerance::PRODUCT, "default limits");
}

#[test]
fn the_same_op_gives_the_same_bits() {
    let mut pair = Pair::new(12);
    let w = pair.mat(DType::Q5_K, Layout::OutIn, 100, 256, TIGHT);
    let (x, a, b) = (pair.rows(9, 256), pair.rows(9, 100), pair.rows(9, 100));
    for out in [a, b] {
        pair.issue(MatMul { x, w: &w, bias: None, out, add: false });
    }
    assert_eq!(pair.read(&a).0, pair.read(&b).0);
    // One row at a time is the same product, within rounding.
    let c = pair.rows(9, 100);
    for r in 0..9 {
        pair.issue(MatMul { x: x.slice(r, 1), w: &w, bias: None, out: c.slice(r, 1), add: false });
    }
    close(&pair.read(&c).0, &pair.read(&a).0, 1e-6, "row by row");
}

#[test]
fn bad_handles_are_named() {
    let mut gpu = open();
    let weight = gpu.load(&f32s(&[1.0; 16])).unwrap();
    let w = Mat::plain(weight, DType::F32, 4, 4);
    let (x, out) = (gpu.alloc(Elem::F32, 8).unwrap(), gpu.alloc(Elem::F32, 8).unwrap());
    let half = gpu.alloc(Elem::F16, 8).unwrap();
    let op = MatMul { x: Rows::new(x, 2, 4), w: &w, bias: None, out: Rows::new(out, 2, 4), add: false };
    let run = |gpu: &mut GpuDevice, op: MatMul<'_>| gpu.issue(&op.into()).unwrap_err();
    let handle = |what| DeviceError::Handle { op: "MatMul", what };

    let none = Rows::new(Buf(99), 2, 4);
    assert_eq!(run(&mut gpu, MatMul { x: none, ..op.clone() }), handle("input rows"));
    assert_eq!(run(&mut gpu, MatMul { x: Rows::new(half, 2, 4), ..op.clone() }), handle("input rows"));
    let past = Rows { offset: 1, ..op.out };
    assert_eq!(run(&mut gpu, MatMul { out: past, ..op.clone() }), handle("output rows"));
    let absent = Mat { weight: Weight(7), ..w };
    assert_eq!(run(&mut gpu, MatMul { w: &absent, ..op.clone() }), handle("weight"));
    let long = Mat { offset: 4, ..w };
    assert_eq!(run(&mut gpu, MatMul { w: &long, ..op.clone() }), handle("matrix"));
    let bias = Some(Vector { weight, offset: 13, len: 4 });
    assert_eq!(run(&mut gpu, MatMul { bias, ..op.clone() }), handle("vector"));
    let aliased = MatMul { out: Rows::new(x, 2, 4), ..op.clone() };
    assert_eq!(run(&mut gpu, aliased), DeviceError::Aliased { op: "MatMul" });
    let error = gpu.write(out, 6, &[0.0; 3]).unwrap_err();
    assert_eq!(error, DeviceError::Handle { op: "write", what: "rows" });
    let error = gpu.read(&op.out, &mut [0.0; 3]).unwrap_err();
    assert_eq!(error, DeviceError::Shape { op: "read", what: "host length", expected: 8, found: 3 });
    gpu.free(out);
    assert_eq!(run(&mut gpu, op.clone()), handle("output rows"));

    // The device goes on.
    let out = gpu.alloc(Elem::F32, 8).unwrap();
    gpu.write(x, 0, &[1.0; 8]).unwrap();
    gpu.issue(&MatMul { out: Rows::new(out, 2, 4), ..op }.into()).unwrap();
    assert_eq!(read(&mut gpu, Rows::new(out, 2, 4)), [4.0; 8]);
}

#[test]
fn formats_without_shaders_are_refused() {
    let mut gpu = open();
    let dtype = DType::IQ2_XXS;
    let weight = gpu.load(&Region::from_vec(vec![0; 66])).unwrap();
    let table = Mat::plain(weight, dtype, 1, 256);
    let out = gpu.alloc(Elem::F32, 256).unwrap();
    let error = gpu.issue(&EmbedRows { table: &table, tokens: &[0], out: Rows::new(out, 1, 256) }.into());
    assert_eq!(error, Err(DeviceError::Unsupported { op: "EmbedRows", dtype }));
}

#[test]
fn more_memory_than_there_is() {
    let mut gpu = open();
    for len in [usize::MAX, usize::MAX / 4, 1 << 40] {
        assert!(matches!(gpu.alloc(Elem::F32, len), Err(DeviceError::OutOfMemory { .. })), "{len}");
    }
    let a = gpu.alloc(Elem::F32, 1).unwrap();
    assert_eq!(read(&mut gpu, Rows::new(a, 1, 1)), [0.0]);
}

/// A tensor of several parts: each is told, and the load can be stopped after any. Split over small buffers too.
#[test]
fn a_load_in_steps_is_told_and_stopped() {
    let values: Vec<f32> = (0..(9 << 20) / 4).map(|i| i as f32).collect();
    let region = f32s(&values);
    for options in [Options::new(), Options::new().buffer_limit(5 << 20)] {
        let mut gpu = GpuDevice::open(&options).unwrap();
        let mut told = Vec::new();
        let mut step = |bytes| {
            told.push(bytes);
            told.len() < 2
        };
        let error = gpu.load_in_steps(Place::default(), &region, &mut step).unwrap_err();
        assert_eq!((error, told.len()), (DeviceError::Cancelled, 2));
        assert!(told.is_sorted() && told[0] > 0 && told[1] < region.len() as u64, "{told:?}");
        // Nothing is kept, and the device goes on.
        let mut parts = 0;
        let mut step = |_| {
            parts += 1;
            true
        };
        let weight = gpu.load_in_steps(Place::default(), &region, &mut step).unwrap();
        assert!(parts >= 2, "{parts}");
        assert_eq!(weight, Weight(0));
        let (n_out, n_in) = (values.len() / 1024, 1024);
        let table = Mat::plain(weight, DType::F32, n_out, n_in);
        let out = gpu.alloc(Elem::F32, n_in).unwrap();
        for row in [0, n_out / 2, n_out - 1] {
            let out = Rows::new(out, 1, n_in);
            gpu.issue(&EmbedRows { table: &table, tokens: &[row as u32], out }.into()).unwrap();
            assert_eq!(read(&mut gpu, out), values[row * n_in..][..n_in], "row {row}");
        }
    }
}

/// Several regions as one matrix, whole and over buffers that each hold a part of it; and what does not end on a word.
#[test]
fn regions_become_one_matrix() {
    let (n_in, rows) = (64, [3, 40, 7]);
    for options in [Options::new(), Options::new().buffer_limit(8192).binding_limit(4096)] {
        let mut pair = Pair::on(Box::new(GpuDevice::open(&options).unwrap()), 4);
        let parts = rows.map(|n| pair.packed(DType::F32, n, n_in, TIGHT).0);
        let regions = parts.each_ref().map(|bytes| Region::from_vec(bytes.clone()));
        let weight = pair.gpu.load_together(Place::default(), &regions, &mut |_| true).unwrap().unwrap();
        let same = pair.reference.load(&Region::from_vec(parts.concat())).unwrap();
        assert_eq!(weight, same);
        let w = Mat::plain(weight, DType::F32, 50, n_in);
        let (x, out) = (pair.rows(1, n_in), pair.rows(1, 50));
        pair.issue(MatMul { x, w: &w, bias: None, out, add: false });
        pair.same(&out, crate::pair::tolerance::PRODUCT, "together");
        let odd = [3, 4].map(|n| Region::from_vec(vec![0; n]));
        assert_eq!(pair.gpu.load_together(Place::default(), &odd, &mut |_| true), Ok(None));
    }
}

#[test]
fn no_such_adapter() {
    let error = GpuDevice::open(&Options::new().adapter(1000)).unwrap_err();
    assert!(matches!(error, OpenError::NoAdapter { asked: Some(1000), .. }), "{error}");
    let all = pollster::block_on(puna_gpu::adapters());
    assert!(!all.is_empty());
    assert!(all.iter().enumerate().all(|(i, a)| a.index == i && !a.name.is_empty()));
}

/// A wgpu device that the application owns, shared, and then destroyed in the middle of the work.
#[test]
fn a_lost_device_says_so() {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default())).unwrap();
    let mut gpu = interop::from_wgpu(&adapter, device.clone(), queue, &Options::new()).unwrap();
    let weight = gpu.load(&f32s(&[1.0, 1.0])).unwrap();
    let (x, out) = (gpu.alloc(Elem::F32, 2).unwrap(), gpu.alloc(Elem::F32, 2).unwrap());
    let (x, out) = (Rows::new(x, 1, 2), Rows::new(out, 1, 2));
    gpu.write(x.buf, 0, &[3.0, -3.0]).unwrap();
    let op = RmsNorm { x, weight: Vector { weight, offset: 0, len: 2 }, eps: 0.0, out };
    gpu.issue(&op.clone().into()).unwrap();
    assert_eq!(read(&mut gpu, out), [1.0, -1.0]);

    gpu.issue(&op.clone().into()).unwrap();
    device.destroy();
    let mut values = [0.0; 2];
    assert!(matches!(gpu.read(&out, &mut values), Err(DeviceError::Lost(_))));
    assert!(matches!(gpu.issue(&op.into()), Err(DeviceError::Lost(_))));
    assert!(matches!(gpu.alloc(Elem::F32, 4), Err(DeviceError::Lost(_))));
    assert!(matches!(gpu.write(x.buf, 0, &[1.0]), Err(DeviceError::Lost(_))));
    assert!(gpu.fork().is_err());
    // Another device works.
    let mut other = open();
    let a = other.alloc(Elem::F32, 1).unwrap();
    assert_eq!(read(&mut other, Rows::new(a, 1, 1)), [0.0]);
}
