//! What the contract of a device says besides numbers: forks, shared pools, refusals, handles.

use crate::harness::{Devices, Random, bytes, pools};
use puna_core::ops::{KvAppend, MatMul, Op, Picks, RmsNorm, Route};
use puna_core::{Buf, DType, Device, DeviceError, Elem, KvView, Mat, Region, Rows, Vector, Weight};
use puna_cpu::device::Threads;
use puna_cpu::isa::Isa;
use puna_cpu::{CpuDevice, CpuOptions, ThreadPool};
use std::sync::Arc;

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
            d_issue(Route {
                x: row(a),
                router: &w,
                always: None,
                picks: Picks { ids: b, scores: b, top_k: 1 },
            }),
            DeviceError::Aliased { op: "Route" },
        ),
        (
            d_issue(Route { x: row(a), router: &w, always: None, picks: Picks { ids, scores: a, top_k: 1 } }),
            DeviceError::Aliased { op: "Route" },
        ),
        (
            d_issue(Route {
                x: Rows::new(a, 1, 8),
                router: &w,
                always: None,
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
