//! Products of many rows in packed 8-bit integers.

use crate::experts::narrow;
use crate::pair::{Gaps, Pair, close, tolerance};
use crate::rows::{LOOSE, TIGHT, formats};
use puna_core::ops::{MatMul, SwiGlu};
use puna_core::{DType, Device, Layout, Rows};
use puna_gpu::{GpuDevice, OpenError, Options, Tier, Tiles};
use std::sync::LazyLock;

fn open(tier: Tier, tiles: Tiles) -> Result<GpuDevice, OpenError> {
    GpuDevice::open(&Options::new().tier(tier).tiles(tiles))
}

static GPU: LazyLock<GpuDevice> = LazyLock::new(|| open(Tier::Shared, Tiles::Packed).unwrap());

fn pair(seed: u64) -> Pair {
    Pair { step: 4, ..Pair::on(GPU.fork().unwrap(), seed) }
}

/// Rows that 8 bits hold exactly: integers, the largest of 32 being 127, times a power of two.
fn exact_rows(pair: &mut Pair, n: usize, width: usize) -> Rows {
    let x = pair.rows(n, width);
    let values: Vec<f32> = (0..x.len())
        .map(|i| match i % 32 {
            5 => -127.0,
            _ => (pair.random.bits() % 255) as f32 - 127.0,
        })
        .map(|v| v / 64.0)
        .collect();
    pair.write(x.buf, x.offset, &values);
    x
}

fn blocks() -> impl Iterator<Item = DType> {
    formats().into_iter().filter(|t| !t.is_plain())
}

/// Nothing is rounded, so that only the order of sums differs: more rows than a tile, more outputs than a workgroup, and
/// an odd number of steps of 32 values where the format allows one. Compiling takes most of the time.
#[test]
fn every_block_format_is_exact() {
    for (i, dtype) in blocks().enumerate() {
        let (n, n_out, n_in) = (35, 70, if dtype.block_len() == 256 { 512 } else { 160 });
        let pair = &mut pair(i as u64);
        let gaps = if i % 2 == 0 { LOOSE } else { TIGHT };
        let mut w = pair.mat(dtype, Layout::OutIn, n_out, n_in, gaps);
        let (x, out) = (exact_rows(pair, n, n_in), pair.rows(n, n_out));
        w.scale = Some(pair.vector(n_out));
        let bias = Some(pair.vector(n_out));
        pair.issue(MatMul { x, w: &w, bias, out, add: true });
        pair.same(&out, tolerance::PACKED, &dtype.to_string());
    }
}

/// Both matrices of a pair, one of which begins elsewhere.
#[test]
fn two_matrices_are_exact() {
    for (dtype, n_in) in [(DType::Q4_0, 96), (DType::Q4_K, 256), (DType::Q6_K, 256)] {
        let pair = &mut pair(n_in as u64);
        let gate = pair.mat(dtype, Layout::OutIn, 35, n_in, Gaps { before: 4, between: 0 });
        let up = pair.mat(dtype, Layout::OutIn, 35, n_in, TIGHT);
        let (x, out) = (exact_rows(pair, 9, n_in), pair.rows(9, 35));
        pair.issue(SwiGlu { x, gate: &gate, up: &up, out });
        pair.same(&out, 2.0 * tolerance::PACKED, &format!("SwiGlu {dtype}"));
    }
}

#[test]
fn experts() {
    let options = Options::new().tier(Tier::Shared).tiles(Tiles::Packed);
    let small = GpuDevice::open(&options.binding_limit(32_768).buffer_limit(65_536)).unwrap();
    narrow([&GPU, &small], tolerance::ROUNDED_TWICE, DType::Q5_0);
}

/// Other rows are rounded, few of them and plain formats are not; and nobody rounds who must not.
#[test]
fn what_is_rounded() {
    let never = open(Tier::Shared, Tiles::F32).unwrap();
    assert_eq!((never.tiers().blocks, never.tiers().plain), (Tiles::F32, Tiles::F32));
    assert_eq!((GPU.tiers().blocks, GPU.tiers().plain), (Tiles::Packed, Tiles::F32));
    for (dtype, n, rounded) in [(DType::Q4_K, 40, true), (DType::Q8_0, 2, false), (DType::BF16, 40, false)] {
        let text = format!("{dtype} {n} rows");
        let said = |gpu: &GpuDevice| {
            let kernels = gpu.info().kernels;
            kernels.iter().find(|k| k.0 == dtype).unwrap().1.contains("packed int8")
        };
        assert_eq!((said(&GPU), said(&never)), (!dtype.is_plain(), false), "{text}");
        for packed in [true, false] {
            let mut pair = match packed {
                true => pair(n as u64),
                false => Pair { step: 4, ..Pair::on(never.fork().unwrap(), n as u64) },
            };
            let w = pair.mat(dtype, Layout::OutIn, 33, 512, TIGHT);
            let (x, out) = (pair.rows(n, 512), pair.rows(n, 33));
            pair.issue(MatMul { x, w: &w, bias: None, out, add: false });
            if packed && rounded {
                pair.same(&out, tolerance::ROUNDED, &text);
                let (found, expected) = pair.read(&out);
                let off = |(f, e): (&f32, &f32)| (f - e).abs();
                assert!(found.iter().zip(&expected).map(off).any(|off| off > 1e-4), "{text}: not rounded");
            } else {
                pair.same(&out, tolerance::LONG, &text);
            }
        }
    }
}

/// Zeros and values too small for a scale give zeros; a value that is not finite takes its own row with it.
#[test]
fn rows_without_a_scale() {
    let pair = &mut pair(4);
    let (n, n_in, n_out) = (4, 64, 9);
    let w = pair.mat(DType::Q5_0, Layout::OutIn, n_out, n_in, TIGHT);
    let (x, out) = (pair.rows(n, n_in), pair.rows(n, n_out));
    let tiny = f32::from_bits(26 << 23);
    let lines = [
        vec![0.0; n_in],
        vec![tiny; n_in],
        vec![1.0; n_in],
        [vec![f32::INFINITY], vec![1.0; n_in - 1]].concat(),
    ];
    pair.write(x.buf, x.offset, &lines.concat());
    pair.issue(MatMul { x, w: &w, bias: None, out, add: false });
    let (found, expected) = pair.read(&out);
    assert_eq!(found[..2 * n_out], vec![0.0; 2 * n_out]);
    close(&found[..3 * n_out], &expected[..3 * n_out], tolerance::PACKED, "finite rows");
    assert!(found[3 * n_out..].iter().all(|v| !v.is_finite()), "{:?}", &found[3 * n_out..]);
}

/// Software drivers are left alone; other tiers have no such kernels.
#[test]
fn when_it_is_used() {
    let default = GpuDevice::open(&Options::new()).unwrap();
    assert!(default.tiers().blocks == Tiles::F32 || !puna_gpu::list().first().unwrap().software);
    assert!(matches!(open(Tier::Thread, Tiles::Packed), Err(OpenError::NoTier { .. })));
    let raced = GpuDevice::open(&Options::new().tier(Tier::Thread).race(true)).unwrap();
    assert_eq!((raced.tiers().blocks, raced.tiers().passed_over.len()), (Tiles::F32, 3));
    // With sums over subgroups for few rows, tiles are the same.
    let subgroup = open(Tier::Subgroup, Tiles::Packed).unwrap();
    let pair = &mut Pair { step: 4, ..Pair::on(Box::new(subgroup), 3) };
    for n in [1, 5] {
        let w = pair.mat(DType::Q8_0, Layout::OutIn, 6, 96, TIGHT);
        let (x, out) = (exact_rows(pair, n, 96), pair.rows(n, 6));
        pair.issue(MatMul { x, w: &w, bias: None, out, add: false });
        pair.same(&out, tolerance::PACKED, &format!("{n} rows"));
    }
}

/// What wins is right; what does not says why.
#[test]
fn the_race_decides() {
    let raced = GpuDevice::open(&Options::new().tier(Tier::Shared).race(true)).unwrap();
    let report = raced.tiers();
    for tiles in [Tiles::Packed, Tiles::Half, Tiles::Matrix] {
        let won = report.blocks == tiles || report.plain == tiles;
        let why = report.passed_over.iter().find(|(passed, _)| *passed == tiles).map(|(_, why)| why);
        assert_eq!(won, why.is_none(), "{report:?}");
        if let (Tiles::Packed, Some(why)) = (tiles, why) {
            assert!(why.contains("a small product took"), "{why}");
        }
    }
    assert_ne!(report.plain, Tiles::Packed);
    let pair = &mut Pair { step: 4, ..Pair::on(Box::new(raced), 5) };
    for dtype in [DType::Q4_0, DType::F16] {
        let w = pair.mat(dtype, Layout::OutIn, 9, 96, TIGHT);
        let (x, out) = (exact_rows(pair, 5, 96), pair.rows(5, 9));
        pair.issue(MatMul { x, w: &w, bias: None, out, add: false });
        pair.same(&out, tolerance::HALF, &dtype.to_string());
    }
}
