//! What happens when a driver refuses, and what is done ahead of first use.

use crate::pair::Pair;
use puna_core::ops::{MatMul, RmsNorm};
use puna_core::{Cancel, DType, Device, DeviceError, Elem, Mat, Region, Rows, Vector};
use puna_gpu::interop::{self, wgpu};
use puna_gpu::{GpuDevice, Need, Options};
use std::sync::Mutex;

fn f32s(values: &[f32]) -> Region {
    Region::from_vec(values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

/// A device of the application's with limits below WebGPU's defaults: kernels that need more are refused by name, and what
/// needs no kernel, or a small one as products do, still works.
#[test]
fn a_refused_kernel_is_named() {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let required_limits = wgpu::Limits {
        max_compute_invocations_per_workgroup: 32,
        max_compute_workgroup_size_x: 32,
        ..wgpu::Limits::defaults()
    };
    let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    let mut gpu = interop::from_wgpu(&adapter, device, queue, &Options::new()).unwrap();
    let weight = gpu.load(&f32s(&[1.0, 1.0])).unwrap();
    let (x, out) = (gpu.alloc(Elem::F32, 2).unwrap(), gpu.alloc(Elem::F32, 2).unwrap());
    let (x, out) = (Rows::new(x, 1, 2), Rows::new(out, 1, 2));
    gpu.write(x.buf, 0, &[3.0, -3.0]).unwrap();
    for _ in 0..2 {
        let op = RmsNorm { x, weight: Vector { weight, offset: 0, len: 2 }, eps: 0.0, out };
        match gpu.issue(&op.into()) {
            Err(DeviceError::Kernel { kernel, why }) => {
                assert!(kernel.contains("rms_norm") && !why.is_empty(), "{kernel}: {why}");
            }
            other => panic!("{other:?}"),
        }
    }
    let mut values = [0.0; 2];
    gpu.read(&x, &mut values).unwrap();
    assert_eq!(values, [3.0, -3.0]);
    let text = Need::Text { hidden: 8, head_dim: 4, kv: Elem::F16 };
    let prepared = gpu.compiler().prepare(&[text]).run(&|_, _| {}, &Cancel::new());
    assert!(matches!(prepared, Err(DeviceError::Kernel { .. })), "{prepared:?}");
}

#[test]
fn kernels_are_compiled_ahead_in_parallel() {
    // Without what the self-test of a rejected tier leaves behind.
    let tier = GpuDevice::open(&Options::new()).unwrap().tiers().used;
    let gpu = GpuDevice::open(&Options::new().tier(tier)).unwrap();
    let (cancel, heard) = (Cancel::new(), Mutex::new(Vec::new()));
    let progress = |done, of| {
        heard.lock().unwrap().push((done, of));
        if done == 3 {
            cancel.cancel();
        }
    };
    let w = Mat::plain(puna_core::Weight(0), DType::Q8_0, 8, 64);
    let text = Need::Text { hidden: 64, head_dim: 16, kv: Elem::F16 };
    let preparation =
        gpu.compiler().prepare(&[Need::Table(&w), Need::Product(&w), Need::Gated(&w, &w), text]);
    let (all, opened) = (preparation.total(), gpu.compiled());
    std::thread::scope(|scope| {
        let other = scope.spawn(|| preparation.run(&progress, &cancel));
        preparation.run(&progress, &cancel).unwrap();
        other.join().unwrap().unwrap();
    });
    // One of two threads may have been at work when the third kernel was done; the self-test has compiled some of them.
    let cancelled = gpu.compiled();
    assert!((opened..=opened + 4).contains(&cancelled) && cancelled < all, "{cancelled} of {all}");
    preparation.run(&progress, &Cancel::new()).unwrap();
    assert_eq!(gpu.compiled(), all);
    assert_eq!(heard.lock().unwrap().last(), Some(&(all, all)));

    // What is compiled serves forks, and nothing is compiled twice or missing.
    let mut pair = Pair::on(gpu.fork().unwrap(), 3);
    // Rows that begin anywhere would be left to another tier.
    pair.step = 4;
    let w = pair.mat(DType::Q8_0, puna_core::Layout::OutIn, 8, 64, crate::rows::TIGHT);
    for n in [1, 9] {
        let (x, out) = (pair.rows(n, 64), pair.rows(n, 8));
        pair.issue(MatMul { x, w: &w, bias: None, out, add: false });
        pair.same(&out, crate::pair::tolerance::PRODUCT, "prepared");
    }
    assert_eq!(gpu.compiled(), all);
}

#[test]
fn dispatches_are_timed() {
    let mut gpu = GpuDevice::open(&Options::new()).unwrap();
    assert_eq!(gpu.times().unwrap(), []);
    let offered = gpu.profile(true).unwrap();
    let w = Mat::plain(gpu.load(&f32s(&[1.0; 64 * 64])).unwrap(), DType::F32, 64, 64);
    let (x, out) = (gpu.alloc(Elem::F32, 64).unwrap(), gpu.alloc(Elem::F32, 64).unwrap());
    let (x, out) = (Rows::new(x, 1, 64), Rows::new(out, 1, 64));
    gpu.write(x.buf, 0, &[1.0; 64]).unwrap();
    let weight = Vector { weight: w.weight, offset: 0, len: 64 };
    // More than one submit can time.
    for _ in 0..3000 {
        gpu.issue(&MatMul { x, w: &w, bias: None, out, add: false }.into()).unwrap();
    }
    gpu.issue(&RmsNorm { x: out, weight, eps: 0.0, out: x }.into()).unwrap();
    let times = gpu.times().unwrap();
    let of = |op| times.iter().filter(|t| t.op == op).map(|t| t.runs).sum::<u64>();
    if offered {
        assert_eq!((of("MatMul"), of("RmsNorm")), (3000, 1));
        assert!(times.iter().all(|t| t.nanoseconds > 0 && !t.kernel.is_empty()), "{times:?}");
    } else {
        println!("skipped: the adapter has no timestamps");
        assert_eq!(times, []);
    }
    let mut values = [0.0; 64];
    gpu.read(&out, &mut values).unwrap();
    assert_eq!(values, [64.0; 64]);
    gpu.profile(false).unwrap();
    assert_eq!(gpu.times().unwrap(), []);
}
