//! Routing and experts, which never leave the GPU.

use crate::pair::{Gaps, Pair, able, tolerance};
use crate::rows::{LOOSE, TIGHT, formats};
use puna_core::ops::{ExpertFfn, Picks, Route};
use puna_core::{DType, Device, Elem, Expert, Layout, Mat, Rows};
use puna_gpu::interop::{self, wgpu};
use puna_gpu::{GpuDevice, Options, Tier};

fn picks(pair: &mut Pair, n: usize, top_k: usize) -> Picks {
    let (ids, scores) = (pair.alloc(Elem::U32, n * top_k), pair.alloc(Elem::F32, n * top_k));
    Picks { ids, scores, top_k }
}

/// How the experts of a layer lie in memory.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// One tensor for each of gate, up and down, as in GGUF.
    Stacked(DType),
    /// A region for each matrix.
    Apart(DType),
    /// `[experts, hidden, 2 * n_ff]` with gate and up side by side and `[experts, n_ff, hidden]`, as Hugging Face has them.
    Fused(DType),
}

/// Views of `count` matrices that follow one another in one region.
fn stacked(pair: &mut Pair, dtype: DType, count: usize, n_out: usize, n_in: usize, gaps: Gaps) -> Vec<Mat> {
    let all = pair.mat(dtype, Layout::OutIn, count * n_out, n_in, gaps);
    (0..count).map(|e| Mat { n_out, offset: all.offset + e * n_out * all.stride, ..all }).collect()
}

fn fused(pair: &mut Pair, dtype: DType, count: usize, n_in: usize, width: usize) -> Vec<Mat> {
    let all = pair.mat(dtype, Layout::InOut, width, count * n_in, TIGHT);
    (0..count).map(|e| Mat { n_in, offset: e * n_in * all.stride, ..all }).collect()
}

fn experts(pair: &mut Pair, place: Place, count: usize, hidden: usize, n_ff: usize) -> Vec<Expert> {
    match place {
        Place::Stacked(dtype) => {
            let gate = stacked(pair, dtype, count, n_ff, hidden, TIGHT);
            let up = stacked(pair, dtype, count, n_ff, hidden, LOOSE);
            let down = stacked(pair, dtype, count, hidden, n_ff, TIGHT);
            gate.into_iter().zip(up).zip(down).map(|((gate, up), down)| Expert { gate, up, down }).collect()
        }
        Place::Apart(dtype) => (0..count)
            .map(|_| Expert {
                gate: pair.mat(dtype, Layout::OutIn, n_ff, hidden, TIGHT),
                up: pair.mat(dtype, Layout::OutIn, n_ff, hidden, LOOSE),
                down: pair.mat(dtype, Layout::OutIn, hidden, n_ff, TIGHT),
            })
            .collect(),
        Place::Fused(dtype) => {
            let gate_up = fused(pair, dtype, count, hidden, 2 * n_ff);
            let down = fused(pair, dtype, count, n_ff, hidden);
            let half = |mat: Mat, offset| Mat { n_out: n_ff, offset: mat.offset + offset, ..mat };
            let width = dtype.row_bytes(n_ff).unwrap();
            let each = gate_up.into_iter().zip(down);
            each.map(|(m, down)| Expert { gate: half(m, 0), up: half(m, width), down }).collect()
        }
    }
}

/// Routes and runs the experts, for each batch size and number of picks.
fn layer(pair: &mut Pair, place: Place, count: usize, dims: (usize, usize), scaled: bool) {
    layer_within(tolerance::EXPONENTIAL, pair, place, count, dims, scaled);
}

/// Routes and runs the experts within a tolerance.
fn layer_within(
    tolerance: f32,
    pair: &mut Pair,
    place: Place,
    count: usize,
    (hidden, n_ff): (usize, usize),
    scaled: bool,
) {
    let mut experts = experts(pair, place, count, hidden, n_ff);
    if scaled {
        let (inner, outer) = (pair.vector(2 * n_ff * count), pair.vector(hidden * count));
        for (e, expert) in experts.iter_mut().enumerate() {
            let slice = |v: puna_core::Vector, len: usize, i: usize| {
                Some(puna_core::Vector { offset: v.offset + i * len, len, ..v })
            };
            expert.gate.scale = slice(inner, n_ff, 2 * e);
            expert.up.scale = slice(inner, n_ff, 2 * e + 1);
            expert.down.scale = slice(outer, hidden, e);
        }
    }
    let router = pair.mat(DType::F32, Layout::OutIn, count, hidden, TIGHT);
    for (n, top_k) in [(1, 1), (7, 1), (1, 2), (9, 2), (2, 3), (25, 1)] {
        // With several picks, the last is sometimes an expert that the router does not choose.
        let always = (top_k > 1 && n > 1).then_some(0);
        let case = format!("{place:?} {n} rows, top {top_k}, scaled {scaled}");
        let (x, out) = (pair.rows(n, hidden), pair.rows(n, hidden));
        let picks = picks(pair, n, top_k);
        pair.issue(Route { x, router: &router, always, picks });
        pair.same(&Rows::new(picks.scores, n, top_k), tolerance::EXPONENTIAL, &case);
        pair.issue(ExpertFfn { x, experts: &experts, picks, out });
        pair.same(&out, tolerance, &case);
    }
}

#[test]
fn every_format_in_one_tensor() {
    for dtype in formats() {
        let dims = if dtype.is_plain() { (37, 41) } else { (256, 256) };
        layer(&mut Pair::new(dtype as u64), Place::Stacked(dtype), 4, dims, false);
    }
}

#[test]
fn every_tier() {
    for tier in Tier::ALL.into_iter().filter(|tier| able(*tier)) {
        for dtype in [DType::Q4_K, DType::Q8_0, DType::BF16] {
            let pair = &mut Pair::in_tier(tier, 11);
            layer(pair, Place::Stacked(dtype), 5, (256, 256), false);
        }
        layer(&mut Pair::in_tier(tier, 12), Place::Apart(DType::Q6_K), 3, (256, 256), false);
        layer(&mut Pair::in_tier(tier, 13), Place::Stacked(DType::F8E4M3), 3, (40, 24), true);
    }
}

/// Rows that all go to one expert, or to a few of many, with workgroups counted by the GPU and not; and on a device of the
/// application's, where wgpu checks what the GPU counted.
#[test]
fn uneven_choices() {
    const COUNT: usize = 7;
    let (hidden, n_ff) = (64, 96);
    let shared = || {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
        let (device, queue) = pollster::block_on(adapter.request_device(&Default::default())).unwrap();
        interop::from_wgpu(&adapter, device, queue, &Options::new()).unwrap()
    };
    let open = |indirect| GpuDevice::open(&Options::new().indirect(indirect)).unwrap();
    for gpu in [open(true), open(false), shared()] {
        let pair = &mut Pair::on(Box::new(gpu), 21);
        let experts = experts(pair, Place::Stacked(DType::Q8_0), COUNT, hidden, n_ff);
        // Input e is the logit of expert e.
        let identity = (0..COUNT * hidden).map(|i| if i / hidden == i % hidden { 1.0f32 } else { 0.0 });
        let weight = pair.load(identity.flat_map(f32::to_le_bytes).collect());
        let router = Mat::plain(weight, DType::F32, COUNT, hidden);
        for (n, top_k, always) in [(33, 1, None), (20, 2, Some(6))] {
            for to in [&[3][..], &[0, 5], &[1, 1, 1, 4]] {
                let (x, out) = (pair.rows(n, hidden), pair.rows(n, hidden));
                for r in 0..n {
                    pair.write(x.buf, x.offset + r * hidden + to[r % to.len()], &[3.0]);
                }
                let picks = picks(pair, n, top_k);
                pair.issue(Route { x, router: &router, always, picks });
                pair.issue(ExpertFfn { x, experts: &experts, picks, out });
                pair.same(&out, tolerance::EXPONENTIAL, &format!("{n} rows to {to:?}, top {top_k}"));
            }
        }
    }
}

/// Many picks by tiles of rounded rows, in bindings of all experts and of a few.
pub(crate) fn narrow(gpus: [&GpuDevice; 2], within: f32, plain: DType) {
    for (gpu, dtypes, dims) in [
        (gpus[0], &[DType::Q4_0, plain][..], (64, 96)),
        (gpus[0], &[DType::Q4_K, DType::Q6_K], (256, 256)),
        (gpus[1], &[DType::Q8_0], (64, 96)),
    ] {
        for dtype in dtypes {
            let pair = &mut Pair { step: 4, ..Pair::on(gpu.fork().unwrap(), *dtype as u64) };
            layer_within(within, pair, Place::Stacked(*dtype), 4, dims, false);
        }
    }
}

#[test]
fn apart_fused_and_scaled() {
    layer(&mut Pair::new(1), Place::Apart(DType::Q4_0), 5, (64, 96), false);
    layer(&mut Pair::new(2), Place::Fused(DType::BF16), 4, (48, 72), false);
    layer(&mut Pair::new(3), Place::Fused(DType::F32), 3, (33, 35), false);
    layer(&mut Pair::new(4), Place::Stacked(DType::F8E4M3), 4, (40, 24), true);
    layer(&mut Pair::new(5), Place::Apart(DType::F8E4M3), 3, (40, 24), true);
}

/// Bindings hold a few experts, one, or part of one.
#[test]
fn experts_larger_than_a_binding() {
    for limit in [4096, 32_768] {
        let options = Options::new().binding_limit(limit).buffer_limit(2 * limit);
        let open = || Box::new(GpuDevice::open(&options).unwrap());
        layer(&mut Pair::on(open(), 1), Place::Stacked(DType::Q8_0), 6, (64, 96), false);
        layer(&mut Pair::on(open(), 2), Place::Fused(DType::F16), 4, (48, 40), false);
        layer(&mut Pair::on(open(), 3), Place::Stacked(DType::F8E4M3), 6, (40, 48), true);
    }
}

/// The choice itself, seen through experts that each write another number.
#[test]
fn ties_and_numbers_that_are_none() {
    let mut pair = Pair::new(6);
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let n = 5;
    let cases: [([f32; 5], [u32; 2]); 10] = [
        ([1.0, 3.0, 2.0, 3.0, 0.0], [1, 3]),
        ([0.0, 0.0, 0.0, 0.0, 0.0], [0, 1]),
        ([-0.0, 0.0, -1.0, -2.0, 0.0], [0, 1]),
        ([-5.0, -4.0, -3.0, -2.0, -1.0], [4, 3]),
        ([-1.0, -1.0, -0.5, -1.0, -1.0], [2, 0]),
        ([-inf, -200.0, -inf, -inf, -inf], [1, 0]),
        ([nan, 1.0, nan, -inf, 2.0], [4, 1]),
        ([nan, nan, nan, nan, nan], [0, 1]),
        ([-inf, nan, inf, -inf, nan], [2, 0]),
        ([-3.0, nan, -inf, inf, -2.0], [3, 4]),
    ];
    for (logits, expected) in cases {
        // A router of one input, which is one: its weights are the logits.
        let weight = pair.load(logits.iter().flat_map(|v| v.to_le_bytes()).collect());
        let router = Mat::plain(weight, DType::F32, n, 1);
        let x = pair.rows(1, 1);
        pair.write(x.buf, x.offset, &[1.0]);
        let chosen = picks(&mut pair, 1, 2);
        pair.issue(Route { x, router: &router, always: None, picks: chosen });
        pair.same(&Rows::new(chosen.scores, 1, 2), tolerance::EXPONENTIAL, &format!("{logits:?}"));
        // Expert e maps one to silu(1000) * 10^e.
        let experts: Vec<Expert> = (0..n)
            .map(|e| {
                let mut one = |v: f32| Mat::plain(pair.load(v.to_le_bytes().to_vec()), DType::F32, 1, 1);
                Expert { gate: one(1000.0), up: one(10f32.powi(e as i32)), down: one(1.0) }
            })
            .collect();
        // Fixed scores, so that the sum of two powers of ten tells which experts were chosen.
        pair.write(chosen.scores, 0, &[1.0, 1.0]);
        let out = pair.rows(1, 1);
        pair.write(out.buf, out.offset, &[0.0]);
        pair.issue(ExpertFfn { x, experts: &experts, picks: chosen, out });
        let (found, reference) = pair.read(&out);
        let sum: f32 = expected.iter().map(|&e| 1000.0 * 10f32.powi(e as i32)).sum();
        assert!((found[0] - sum).abs() < 1e-3 * sum, "{logits:?}: {found:?} instead of {sum}");
        assert!((reference[0] - sum).abs() < 1e-3 * sum, "{logits:?}: reference {reference:?}");
    }
}
