//! The published golden values (Hugging Face in F32) of a model with every feature, in two rotary variants.

use super::tiny::{self, IDS};
use crate::config::RopeScaling;
use crate::{Config, Pass, State, StateOptions, Want};
use alloc::vec::Vec;
use puna_core::ops::{Op, Route};
use puna_core::{Buf, Device, DeviceError, DeviceInfo, Elem, RefDevice, Region, Rows, Weight};
use std::boxed::Box;
use std::collections::BTreeMap;

/// The reference, taking down what each router was asked and what it chose.
#[derive(Clone, Default)]
struct Spy {
    inner: RefDevice,
    picks: Vec<Vec<u32>>,
}

impl Spy {
    /// The choices of a router, made again from what it was given.
    fn picks(&mut self, op: &Route<'_>, router: &[f32]) -> Vec<u32> {
        let mut x = std::vec![0.0; op.x.len()];
        self.inner.read(&op.x, &mut x).unwrap();
        let logits = |x: &[f32]| -> Vec<f32> {
            router.chunks_exact(x.len()).map(|w| w.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
        };
        let best = |v: Vec<f32>| (0..v.len()).max_by(|&a, &b| v[a].total_cmp(&v[b])).unwrap() as u32;
        x.chunks_exact(op.x.width).map(|x| best(logits(x))).collect()
    }
}

impl Device for Spy {
    fn info(&self) -> DeviceInfo {
        self.inner.info()
    }
    fn load(&mut self, region: &Region) -> Result<Weight, DeviceError> {
        self.inner.load(region)
    }
    fn alloc(&mut self, elem: Elem, len: usize) -> Result<Buf, DeviceError> {
        self.inner.alloc(elem, len)
    }
    fn free(&mut self, buf: Buf) {
        self.inner.free(buf);
    }
    fn write(&mut self, to: Buf, at: usize, values: &[f32]) -> Result<(), DeviceError> {
        self.inner.write(to, at, values)
    }
    fn issue(&mut self, op: &Op<'_>) -> Result<(), DeviceError> {
        if let Op::Route(route) = op {
            // Routers are the tensors number 16 and 37 of the golden, in this order for each batch.
            let t = if self.picks.len().is_multiple_of(2) { 16 } else { 37 };
            let picks = self.picks(route, &tiny::values(t, 4 * 32, 1.0, 0.0));
            self.picks.push(picks);
        }
        self.inner.issue(op)
    }
    fn read(&mut self, from: &Rows, into: &mut [f32]) -> Result<(), DeviceError> {
        self.inner.read(from, into)
    }
    fn fork(&self) -> Result<Box<dyn Device>, DeviceError> {
        Ok(Box::new(self.clone()))
    }
}

/// What one run gave.
struct Run {
    logits: Vec<Vec<f32>>,
    /// Residual stream after each layer, all positions.
    hidden: BTreeMap<usize, Vec<f32>>,
    /// Choices of the two routers.
    picks: [Vec<u32>; 2],
}

fn run(config: &Config) -> Run {
    let mut device = Spy::default();
    let tensors = tiny::tensors(config);
    let llama = crate::Llama::load(config.clone(), &tensors, &mut device, &mut Default::default()).unwrap();
    let options = StateOptions { kv: Elem::F32, ..StateOptions::default() };
    let mut state = State::new(&llama, &mut device, &options).unwrap();
    let (mut logits, mut hidden) = (Vec::new(), BTreeMap::<usize, Vec<f32>>::new());
    let mut pass = Pass::new(Want::All);
    let mut keep_logits = |pos: u64, row: &[f32]| {
        assert_eq!(pos, logits.len() as u64);
        logits.push(row.to_vec());
        Ok(())
    };
    let mut keep_hidden = |layer: usize, _: u64, rows: &[f32]| {
        hidden.entry(layer).or_default().extend_from_slice(rows);
        Ok(())
    };
    pass.logits = Some(&mut keep_logits);
    pass.hidden = Some(&mut keep_hidden);
    llama.forward(&mut device, &mut state, &IDS, &mut pass).unwrap();
    let router = |r: usize| device.picks.iter().skip(r).step_by(2).flatten().copied().collect();
    Run { logits, hidden, picks: [router(0), router(1)] }
}

fn argmax(row: &[f32]) -> usize {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap()
}

fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= tolerance, "{what}[{i}]: expected {e}, found {f}");
    }
    assert!(found.len() >= expected.len(), "{what}: too few values");
}

fn check_logits(run: &Run, golden: &[(usize, [f32; 8], f32)]) {
    for (pos, first, sum) in golden {
        let row = &run.logits[*pos];
        close(&std::format!("logits at {pos}"), row, first, 5e-5);
        assert!((row.iter().sum::<f32>() - sum).abs() < 5e-4, "sum at {pos}");
    }
    let best: Vec<usize> = run.logits.iter().map(|row| argmax(row)).collect();
    assert_eq!(best, [41, 31, 19, 36, 8, 8, 8, 9, 41, 16, 16]);
    assert_eq!(run.picks[0], [3, 3, 3, 3, 2, 2, 2, 2, 0, 0, 3]);
    assert_eq!(run.picks[1], [3, 3, 3, 3, 1, 1, 1, 1, 0, 0, 0]);
}

#[test]
fn the_generator_gives_the_printed_weights() {
    let spot = |t, scale, offset| [0, 1, 2].map(|k| tiny::weight(t, k, scale, offset));
    close("t0", &spot(0, 1.0, 0.0), &[-1.0, -0.183_302, 0.633_396], 1e-6);
    close("t1", &spot(1, 0.2, 1.0), &[1.116_869, 0.864_011, 0.917_760], 1e-6);
    close("t2", &spot(2, 0.4, 0.0), &[0.240_386, 0.369_980, -0.143_958], 1e-6);
    close("t17", &spot(17, 0.4, 0.0), &[0.180_744, 0.367_191, 0.032_362], 1e-6);
    close("t44", &spot(44, 0.4, 0.0), &[-0.270_584, -0.108_465, -0.090_529], 1e-6);
}

#[test]
fn case_a_default_rope() {
    let run = run(&tiny::golden());
    check_logits(
        &run,
        &[
            (0, [-0.21067, 1.0877, 0.91979, -1.1453, -0.39758, -2.15099, 0.65458, 1.84843], 9.1381),
            (3, [1.51578, 0.6102, -1.04896, -3.46777, 0.58144, 0.09136, -0.20819, -2.87848], 2.3831),
            (4, [1.44381, 0.18989, -0.52502, -0.92124, 0.9676, 0.22237, -0.99042, -0.71528], 0.2824),
            (10, [0.59249, -0.13652, 1.51894, -0.09249, 0.80703, 0.13865, -0.31118, -0.49741], -2.905),
        ],
    );
    for (layer, expected) in [
        (0, [-0.9796, 1.54545, -0.52211, -0.8313]),
        (1, [2.2565, 2.52045, -1.02193, -2.01673]),
        (2, [0.75212, 2.34258, -1.18834, -3.06489]),
    ] {
        close("hidden at 10", &run.hidden[&layer][10 * 32..], &expected, 2e-5);
    }
    // The published value after the last layer is that after the final norm.
    let last = &run.hidden[&3][10 * 32..];
    let mut normed = [0.0; 32];
    puna_core::reference::rms_norm(last, &tiny::values(43, 32, 0.2, 1.0), 1e-5, &mut normed);
    close("final norm at 10", &normed, &[0.56768, 1.18468, -1.13679, -0.54337], 2e-5);
}

#[test]
fn case_b_llama3_rope() {
    let mut config = tiny::golden();
    config.rope.theta = 500_000.0;
    config.rope.scaling = RopeScaling::Llama3 { factor: 16.0, low: 1.0, high: 1.0, original: 64.0 };
    let freqs = crate::rope::inv_freq(&config.rope).unwrap();
    // The last value is printed with five digits.
    for (found, expected) in freqs.iter().zip([1.0, 2.350_377e-3, 8.838_834e-5, 3.3239e-6]) {
        assert!((found / expected - 1.0f32).abs() < 2e-5, "{found} {expected}");
    }
    check_logits(
        &run(&config),
        &[
            (3, [1.51089, 0.86706, -0.8164, -3.64606, 0.58502, -0.17737, -0.17129, -2.82611], 3.8138),
            (4, [1.46566, 0.1911, -0.53778, -0.93395, 0.95975, 0.21764, -0.99627, -0.74054], 0.2433),
            (10, [0.45823, -0.104, 1.59662, 0.00719, 0.64669, 0.04318, -0.33793, -0.38825], -2.856),
        ],
    );
}
