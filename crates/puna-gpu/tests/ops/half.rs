//! Products of many rows in 16-bit floats, by dot products and by cooperative matrices. Either is skipped, and says so, where
//! the adapter has no such thing.

use crate::experts::narrow;
use crate::pair::{Gaps, Pair, close, tolerance};
use crate::rows::{LOOSE, TIGHT, formats};
use puna_core::ops::{MatMul, SwiGlu};
use puna_core::{DType, Device, Layout};
use puna_gpu::interop::{self, wgpu};
use puna_gpu::{GpuDevice, OpenError, Options, Tier, Tiles};
use std::sync::LazyLock;

const TIERS: [Tiles; 2] = [Tiles::Half, Tiles::Matrix];

fn options(tiles: Tiles) -> Options {
    Options::new().tier(Tier::Shared).tiles(tiles)
}

/// A device that an application has opened with cooperative matrices.
fn application(options: &Options) -> Option<Result<GpuDevice, OpenError>> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter =
        pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).unwrap();
    let features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
        | wgpu::Features::SHADER_F16
        | wgpu::Features::SUBGROUP;
    if !adapter.features().contains(features) {
        return None;
    }
    println!("{:?}", adapter.cooperative_matrix_properties());
    let descriptor = wgpu::DeviceDescriptor {
        required_features: features,
        // SAFETY: a test of one kernel family; what wgpu says may go wrong would go wrong in the test program.
        experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    Some(interop::from_wgpu(&adapter, device, queue, options))
}

fn open(tiles: Tiles, options: &Options) -> Option<GpuDevice> {
    if tiles == Tiles::Matrix {
        return application(options).map(Result::unwrap);
    }
    puna_gpu::list().first().unwrap().f16.then(|| GpuDevice::open(options).unwrap())
}

static GPUS: LazyLock<[Option<GpuDevice>; 2]> = LazyLock::new(|| {
    TIERS.map(|tiles| {
        let gpu = open(tiles, &options(tiles));
        if gpu.is_none() {
            println!("skipped: the adapter cannot do {tiles:?}");
        }
        gpu
    })
});

fn gpus() -> impl Iterator<Item = (Tiles, &'static GpuDevice)> {
    TIERS.into_iter().zip(GPUS.iter()).filter_map(|(tiles, gpu)| gpu.as_ref().map(|gpu| (tiles, gpu)))
}

fn pair(gpu: &GpuDevice, seed: u64) -> Pair {
    Pair { step: 4, ..Pair::on(gpu.fork().unwrap(), seed) }
}

/// More rows than a tile, more outputs than a workgroup, and rows that end within a step of the kernel.
#[test]
fn every_format() {
    for (tiles, gpu) in gpus() {
        assert_eq!((gpu.tiers().blocks, gpu.tiers().plain), (tiles, tiles));
        for (i, dtype) in formats().into_iter().enumerate() {
            let n_in = match dtype.block_len() {
                256 => 512,
                32 => 160,
                _ => 168,
            };
            let pair = &mut pair(gpu, i as u64);
            let gaps = if i % 2 == 0 { LOOSE } else { TIGHT };
            let mut w = pair.mat(dtype, Layout::OutIn, 70, n_in, gaps);
            let (x, out) = (pair.rows(35, n_in), pair.rows(35, 70));
            pair.issue(MatMul { x, w: &w, bias: None, out, add: false });
            pair.same(&out, tolerance::HALF, &format!("{tiles:?} {dtype}"));
            if i % 4 == 0 {
                w.scale = Some(pair.vector(70));
                let bias = Some(pair.vector(70));
                pair.issue(MatMul { x, w: &w, bias, out, add: true });
                pair.same(&out, tolerance::HALF, &format!("{tiles:?} {dtype} scale bias add"));
            }
        }
    }
}

/// Both matrices of a pair, one of which begins elsewhere; experts; and few rows, which nobody rounds.
#[test]
fn two_matrices_experts_and_few_rows() {
    for (tiles, gpu) in gpus() {
        for (dtype, n_in) in [(DType::BF16, 40), (DType::Q4_0, 96), (DType::Q6_K, 256)] {
            let pair = &mut pair(gpu, n_in as u64);
            let gate = pair.mat(dtype, Layout::OutIn, 35, n_in, Gaps { before: 4, between: 0 });
            let up = pair.mat(dtype, Layout::OutIn, 35, n_in, TIGHT);
            for (n, within) in [(9, tolerance::HALF_TWICE), (2, tolerance::EXPONENTIAL)] {
                let (x, out) = (pair.rows(n, n_in), pair.rows(n, 35));
                pair.issue(SwiGlu { x, gate: &gate, up: &up, out });
                pair.same(&out, within, &format!("{tiles:?} {dtype} {n} rows"));
            }
        }
        let small = options(tiles).binding_limit(32_768).buffer_limit(65_536);
        let small = open(tiles, &small).unwrap();
        narrow([gpu, &small], tolerance::HALF_TWICE, DType::F16);
    }
}

/// Each row has a scale of its own: large and small ones are as exact as others. Zeros and values too small for a scale give
/// zeros; a value that is not finite takes its own row with it.
#[test]
fn rows_of_all_sizes() {
    for (tiles, gpu) in gpus() {
        let pair = &mut pair(gpu, 4);
        let (n, n_in, n_out) = (7, 64, 9);
        let w = pair.mat(DType::Q8_0, Layout::OutIn, n_out, n_in, TIGHT);
        let (x, out) = (pair.rows(n, n_in), pair.rows(n, n_out));
        let values = pair.random.floats(n_in);
        let times = |by: f32| values.iter().map(|v| v * by).collect::<Vec<_>>();
        let tiny = f32::from_bits(26 << 23);
        let infinite = [vec![f32::INFINITY], vec![1.0; n_in - 1]].concat();
        let lines =
            [times(1.0), times(1e30), times(1e-25), times(7e4), vec![0.0; n_in], vec![tiny; n_in], infinite];
        pair.write(x.buf, x.offset, &lines.concat());
        pair.issue(MatMul { x, w: &w, bias: None, out, add: false });
        let (found, expected) = pair.read(&out);
        for (i, (f, e)) in found.chunks(n_out).zip(expected.chunks(n_out)).take(4).enumerate() {
            close(f, e, tolerance::HALF, &format!("{tiles:?} row {i}"));
        }
        assert_eq!(found[4 * n_out..6 * n_out], vec![0.0; 2 * n_out]);
        assert!(found[6 * n_out..].iter().all(|v| !v.is_finite()), "{:?}", &found[6 * n_out..]);
    }
}

/// Without the features it is an error to ask for them, and nothing else is.
#[test]
fn what_an_adapter_lacks() {
    let plain = GpuDevice::open(&options(Tiles::Matrix));
    assert!(matches!(&plain, Err(OpenError::NoTier { tried }) if tried.contains("cooperative")), "{plain:?}");
    if !puna_gpu::list().first().unwrap().f16 {
        assert!(matches!(GpuDevice::open(&options(Tiles::Half)), Err(OpenError::NoTier { .. })));
    }
}
