//! The reference device against formulas written out by hand, and what it refuses.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use puna_core::ops::{
    Attend, EmbedRows, ExpertFfn, KvAppend, MatMul, Pairs, Picks, QkPrepare, RmsNorm, Rope, Route, SwiGlu,
    Temperature, Window,
};
use puna_core::{
    Buf, DType, Device, DeviceError, Elem, Expert, KvView, Layout, Mat, PlanDevice, RefDevice, Region, Rows,
    Vector, Weight,
};

fn f32s(values: &[f32]) -> Region {
    Region::from_vec(values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn mat(d: &mut dyn Device, n_out: usize, n_in: usize, values: &[f32]) -> Mat {
    Mat::plain(d.load(&f32s(values)).unwrap(), DType::F32, n_out, n_in)
}

fn rows(d: &mut dyn Device, width: usize, values: &[f32]) -> Rows {
    let buf = d.alloc(Elem::F32, values.len()).unwrap();
    d.write(buf, 0, values).unwrap();
    Rows::new(buf, values.len() / width, width)
}

fn read(d: &mut dyn Device, rows: &Rows) -> Vec<f32> {
    let mut out = vec![0.0; rows.len()];
    d.read(rows, &mut out).unwrap();
    out
}

fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() < 1e-6, "{found:?} instead of {expected:?}");
    }
}

#[test]
fn both_layouts_bias_scale_and_add() {
    let mut d = RefDevice::new();
    let x = rows(&mut d, 2, &[1.0, 2.0, -1.0, 0.5]);
    let out = rows(&mut d, 3, &[10.0; 6]);
    // W = [[1, 2], [3, 4], [5, 6]] as [out, in], and the same matrix as [in, out].
    let w = mat(&mut d, 3, 2, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    d.issue(&MatMul { x, w: &w, bias: None, out, add: true }.into()).unwrap();
    close(&read(&mut d, &out), &[15.0, 21.0, 27.0, 10.0, 9.0, 8.0]);

    let transposed = d.load(&f32s(&[1.0, 3.0, 5.0, 2.0, 4.0, 6.0])).unwrap();
    let extra = d.load(&f32s(&[1.0, 10.0, 100.0, 0.5, 0.25, 0.0])).unwrap();
    let scale = Some(Vector { weight: extra, offset: 0, len: 3 });
    let w = Mat { weight: transposed, layout: Layout::InOut, stride: 12, scale, ..w };
    let bias = Some(Vector { weight: extra, offset: 3, len: 3 });
    d.issue(&MatMul { x, w: &w, bias, out, add: false }.into()).unwrap();
    close(&read(&mut d, &out), &[5.5, 110.25, 1700.0, 0.5, -9.75, -200.0]);
}

#[test]
fn embedding_and_norm() {
    let mut d = RefDevice::new();
    let table = mat(&mut d, 3, 2, &[1.0, 2.0, 3.0, 4.0, 5.0, 12.0]);
    let out = rows(&mut d, 2, &[0.0; 4]);
    d.issue(&EmbedRows { table: &table, tokens: &[2, 0], out }.into()).unwrap();
    close(&read(&mut d, &out), &[5.0, 12.0, 1.0, 2.0]);
    let error = d.issue(&EmbedRows { table: &table, tokens: &[2, 3], out }.into()).unwrap_err();
    assert_eq!(error, DeviceError::Range { op: "EmbedRows", what: "token id", limit: 3, found: 3 });

    let weight = Vector { weight: d.load(&f32s(&[2.0, 0.5])).unwrap(), offset: 0, len: 2 };
    let normed = rows(&mut d, 2, &[0.0; 4]);
    d.issue(&RmsNorm { x: out, weight, eps: 0.0, out: normed }.into()).unwrap();
    let (a, b) = ((169.0f32 / 2.0).sqrt(), (5.0f32 / 2.0).sqrt());
    close(&read(&mut d, &normed), &[10.0 / a, 6.0 / a, 2.0 / b, 1.0 / b]);
    assert_eq!(
        d.issue(&RmsNorm { x: out, weight, eps: 0.0, out }.into()),
        Err(DeviceError::Aliased { op: "RmsNorm" })
    );
}

#[test]
fn rotation_norm_and_temperature() {
    let mut d = RefDevice::new();
    let freqs = d.load(&f32s(&[1.0, 0.5])).unwrap();
    let inv_freq = Vector { weight: freqs, offset: 0, len: 2 };
    for (pairs, order) in [(Pairs::Interleaved, [0, 1, 2, 3]), (Pairs::Half, [0, 2, 1, 3])] {
        let x = rows(&mut d, 4, &[1.0, 2.0, 3.0, 4.0]);
        let rope = Some(Rope { inv_freq, pairs });
        let op = QkPrepare { x, head_dim: 4, pos: 3, rope, norm_eps: None, temperature: None };
        d.issue(&op.into()).unwrap();
        let v = [1.0f32, 2.0, 3.0, 4.0].map(f64::from);
        let mut expected = [0.0f32; 4];
        for (j, angle) in [3.0f64, 1.5].into_iter().enumerate() {
            let (a, b) = (order[2 * j], order[2 * j + 1]);
            expected[a] = (v[a] * angle.cos() - v[b] * angle.sin()) as f32;
            expected[b] = (v[a] * angle.sin() + v[b] * angle.cos()) as f32;
        }
        close(&read(&mut d, &x), &expected);
    }
    let x = rows(&mut d, 2, &[3.0, 4.0, 3.0, 4.0]);
    let temperature = Some(Temperature { floor_scale: 8192.0, scale: 0.1 });
    d.issue(&QkPrepare { x, head_dim: 2, pos: 8190, rope: None, norm_eps: None, temperature }.into())
        .unwrap();
    close(&read(&mut d, &x), &[3.0, 4.0, 3.0 * 1.069_314_7, 4.0 * 1.069_314_7]);
    d.issue(&QkPrepare { x, head_dim: 2, pos: 0, rope: None, norm_eps: Some(0.0), temperature: None }.into())
        .unwrap();
    let s = 2f32.sqrt();
    close(&read(&mut d, &x)[..2], &[0.6 * s, 0.8 * s]);
}

#[test]
fn attention_windows_and_blocks() {
    for elem in [Elem::F32, Elem::F16] {
        let mut d = RefDevice::new();
        // Two blocks of three slots; one kv head of two values, two query heads.
        let blocks = [d.alloc(elem, 12).unwrap(), d.alloc(elem, 12).unwrap()];
        let kv = KvView { blocks: &blocks, block_tokens: 3, first: 0, n_kv_heads: 1, head_dim: 2, elem };
        let keys: Vec<f32> = (0..10).map(|i| i as f32 * 0.25).collect();
        let (k, v) =
            (rows(&mut d, 2, &keys), rows(&mut d, 2, &keys.iter().map(|v| 2.0 - v).collect::<Vec<_>>()));
        d.issue(&KvAppend { k, v, kv: &kv, pos: 0 }.into()).unwrap();
        let q = rows(&mut d, 4, &[1.0, -0.5, 0.25, 2.0]);
        let out = rows(&mut d, 4, &[0.0; 4]);
        for (window, first) in [(Window::Full, 0), (Window::Chunk(4), 4), (Window::Chunk(3), 3)] {
            d.issue(&Attend { q, kv: &kv, out, pos: 4, scale: 0.5, window }.into()).unwrap();
            let mut expected = Vec::new();
            for q in [[1.0, -0.5], [0.25, 2.0]] {
                let key = |p: usize| [keys[2 * p], keys[2 * p + 1]];
                let weights: Vec<f32> =
                    (first..=4).map(|p| (0.5 * (q[0] * key(p)[0] + q[1] * key(p)[1])).exp()).collect();
                let total: f32 = weights.iter().sum();
                for i in 0..2 {
                    let sum: f32 = weights.iter().zip(first..).map(|(w, p)| w * (2.0 - key(p)[i])).sum();
                    expected.push(sum / total);
                }
            }
            close(&read(&mut d, &out), &expected);
        }
        let late = Attend { q, kv: &kv, out, pos: 6, scale: 0.5, window: Window::Full };
        assert_eq!(
            d.issue(&late.into()),
            Err(DeviceError::Range { op: "Attend", what: "position", limit: 6, found: 6 })
        );
    }
}

#[test]
fn experts_see_the_scaled_input() {
    let mut d = RefDevice::new();
    let x = rows(&mut d, 2, &[1.0, -2.0, 0.5, 0.25]);
    let router = mat(&mut d, 3, 2, &[0.0, 0.0, 1.0, 0.0, 0.0, -1.0]);
    let picks =
        Picks { ids: d.alloc(Elem::U32, 4).unwrap(), scores: d.alloc(Elem::F32, 4).unwrap(), top_k: 2 };
    d.issue(&Route { x, router: &router, always: None, picks }.into()).unwrap();
    let sigmoid = |v: f32| 1.0 / (1.0 + (-v).exp());
    // Row 0 has logits 0, 1, 2; row 1 has 0, 0.5, -0.25.
    let scores = Rows::new(picks.scores, 2, 2);
    close(&read(&mut d, &scores), &[sigmoid(2.0), sigmoid(1.0), sigmoid(0.5), sigmoid(0.0)]);
    // One choice, and an expert that is not the router's to choose.
    d.issue(&Route { x, router: &router, always: Some(3), picks }.into()).unwrap();
    close(&read(&mut d, &scores), &[sigmoid(2.0), 1.0, sigmoid(0.5), 1.0]);
    let one = Route { x, router: &router, always: Some(3), picks: Picks { top_k: 1, ..picks } };
    assert!(matches!(d.issue(&one.into()), Err(DeviceError::Range { what: "top_k", .. })));
    d.issue(&Route { x, router: &router, always: None, picks }.into()).unwrap();

    let experts: Vec<Expert> = (0..3)
        .map(|e| {
            let e = e as f32;
            let gate = mat(&mut d, 1, 2, &[1.0 + e, 0.5]);
            let up = mat(&mut d, 1, 2, &[0.25, e - 1.0]);
            Expert { gate, up, down: mat(&mut d, 2, 1, &[1.0, e]) }
        })
        .collect();
    let out = rows(&mut d, 2, &[0.0; 4]);
    d.issue(&ExpertFfn { x, experts: &experts, picks, out }.into()).unwrap();
    let expert = |e: f32, s: f32, x: [f32; 2]| {
        let (gate, up) = (s * (x[0] * (1.0 + e) + x[1] * 0.5), s * (x[0] * 0.25 + x[1] * (e - 1.0)));
        gate * sigmoid(gate) * up
    };
    let (a, b) = (expert(2.0, sigmoid(2.0), [1.0, -2.0]), expert(1.0, sigmoid(1.0), [1.0, -2.0]));
    let (c, e) = (expert(1.0, sigmoid(0.5), [0.5, 0.25]), expert(0.0, sigmoid(0.0), [0.5, 0.25]));
    close(&read(&mut d, &out), &[a + b, 2.0 * a + b, c + e, c]);
}

#[test]
fn the_gate_is_silu() {
    let mut d = RefDevice::new();
    let x = rows(&mut d, 1, &[2.0]);
    let (gate, up) = (mat(&mut d, 1, 1, &[-1.5]), mat(&mut d, 1, 1, &[0.5]));
    let out = rows(&mut d, 1, &[0.0]);
    d.issue(&SwiGlu { x, gate: &gate, up: &up, out }.into()).unwrap();
    close(&read(&mut d, &out), &[-3.0 / (1.0 + 3f32.exp())]);
}

#[test]
fn a_fork_keeps_its_own_buffers() {
    let mut d = RefDevice::new();
    let x = rows(&mut d, 1, &[1.0]);
    let mut fork = d.fork().unwrap();
    d.write(x.buf, 0, &[2.0]).unwrap();
    assert_eq!((read(&mut d, &x), read(fork.as_mut(), &x)), (vec![2.0], vec![1.0]));
}

#[test]
fn broken_ops_are_refused_by_every_device() {
    let devices: [Box<dyn Device>; 2] = [Box::new(RefDevice::new()), Box::new(PlanDevice::new())];
    for mut d in devices {
        let d = d.as_mut();
        let x = Rows::new(d.alloc(Elem::F32, 64).unwrap(), 1, 64);
        let out = Rows::new(d.alloc(Elem::F32, 64).unwrap(), 1, 2);
        let weight = d.load(&Region::from_vec(vec![0; 72])).unwrap();
        let good = Mat::plain(weight, DType::Q4_0, 2, 64);
        d.issue(&MatMul { x, w: &good, bias: None, out, add: false }.into()).unwrap();
        let broken = [
            Mat { n_in: 48, ..good },
            Mat { n_in: 32, ..good },
            Mat { stride: 8, ..good },
            Mat { stride: usize::MAX, ..good },
            Mat { layout: Layout::InOut, ..good },
            Mat { n_out: 3, ..good },
            Mat { scale: Some(Vector { weight, offset: 0, len: 1 }), ..good },
        ];
        for w in &broken {
            d.issue(&MatMul { x, w, bias: None, out, add: false }.into()).unwrap_err();
        }
    }
    let mut d = RefDevice::new();
    let x = rows(&mut d, 1, &[1.0]);
    let out = Rows::new(Buf(99), 1, 1);
    let w = Mat::plain(Weight(7), DType::F32, 1, 1);
    d.issue(&MatMul { x, w: &w, bias: None, out, add: false }.into()).unwrap_err();
    let out = rows(&mut d, 1, &[0.0]);
    d.issue(&MatMul { x, w: &w, bias: None, out, add: false }.into()).unwrap_err();
    // The region is shorter than the matrix says.
    let w = Mat { weight: d.load(&Region::from_vec(vec![0; 3])).unwrap(), ..w };
    d.issue(&MatMul { x, w: &w, bias: None, out, add: false }.into()).unwrap_err();
    d.alloc(Elem::F32, usize::MAX / 2).unwrap_err();
}

#[test]
fn the_plan_counts() {
    let mut d = PlanDevice::new();
    let weight = d.load(&Region::from_vec(vec![0; 36])).unwrap();
    let w = Mat::plain(weight, DType::Q4_0, 2, 32);
    let x = Rows::new(d.alloc(Elem::F32, 96).unwrap(), 3, 32);
    let out = Rows::new(d.alloc(Elem::F32, 6).unwrap(), 3, 2);
    d.issue(&MatMul { x, w: &w, bias: None, out, add: false }.into()).unwrap();
    let t = d.tally();
    assert_eq!((t.weight_bytes, t.buffer_bytes, t.weight_bytes_read, t.multiply_adds), (36, 408, 36, 192));
    d.free(x.buf);
    assert_eq!((d.tally().buffer_bytes, d.tally().peak_buffer_bytes), (24, 408));
}
