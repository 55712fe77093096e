//! The ops of the text model.

use crate::harness::{Devices, Random, bytes, many, pools, shape};
use puna_core::ops::{
    Attend, EmbedRows, ExpertFfn, KvAppend, MatMul, Pairs, Picks, QkPrepare, RmsNorm, Rope, Route, SwiGlu,
    Temperature, TopK, Window,
};
use puna_core::{Buf, DType, Elem, Expert, KvView, Layout, Mat, Rows, Vector};

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
        let always = random.pick(&[None, Some(n_experts as u32)]);
        let top_k = 1 + random.below(n_experts.min(3)) + usize::from(always.is_some());
        let router = devices.mat(random, dtype, n_experts, hidden, Layout::OutIn);
        let x = devices.rows(random, n_rows, hidden);
        let ids = devices.same(|d| d.alloc(Elem::U32, n_rows * top_k).unwrap());
        let scores = devices.rows(random, n_rows, top_k);
        let scores = Rows { offset: 0, ..scores };
        let picks = Picks { ids, scores: scores.buf, top_k };
        devices.issue(Route { x, router: &router, always, picks });
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
        devices.issue(Route { x: Rows::new(x, 1, 2), router: &router, always: None, picks });
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
        let (n_rows, n_experts) = (random.pick(&[1, 1, 2, 7, 40, 130, 300]), 1 + random.below(9));
        // Sometimes with an expert more, which every row has.
        let shared = random.below(2);
        let top_k = 1 + random.below(n_experts.min(3)) + shared;
        let (hidden, n_ff) = (32 * (1 + random.below(4)), 32 * (1 + random.below(4)));
        let experts: Vec<Expert> = (0..n_experts + shared)
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
        let always = (shared > 0).then_some(n_experts as u32);
        devices.issue(Route { x, router: &router, always, picks });
        devices.issue(ExpertFfn { x, experts: &experts, picks, out });
        devices.compare(&format!("ExpertFfn {n_experts} experts, top {top_k}, {n_rows} rows"), out, 2e-4);
    });
}

#[test]
fn top_k() {
    many(20, |devices, random| {
        let (n, width) = (1 + random.below(3), random.width(&[1, 9, 300, 1500]));
        let k = random.below(width.min(TopK::MOST) + 1);
        let x = devices.rows(random, n, width);
        // Few different values, zeros of both signs among them: most of the order is by index.
        if random.below(2) == 0 {
            let values: Vec<f32> =
                (0..n * width).map(|_| random.pick(&[-1.5, -0.0, 0.0, 2.0, 7.25])).collect();
            devices.same(|d| d.write(x.buf, x.offset, &values).unwrap());
        }
        let out = devices.rows(random, n, 2 * k + 2);
        devices.issue(TopK { x, k, out });
        devices.compare(&format!("TopK {k} of {width}"), out, 1e-6);
    });
    many(1, |devices, random| {
        let (x, out) = (devices.rows(random, 2, 4), devices.rows(random, 2, 6));
        let values = [1.0, f32::NAN, 2.0, f32::NEG_INFINITY, f32::INFINITY, 1.0, 2.0, 3.0];
        devices.same(|d| d.write(x.buf, x.offset, &values).unwrap());
        devices.issue(TopK { x, k: 2, out });
        for row in [0, 1] {
            let last = Rows { offset: out.offset + row * 6 + 5, n_rows: 1, width: 1, ..out };
            let bad = devices.same(|d| {
                let mut v = [0.0];
                d.read(&last, &mut v).unwrap();
                v[0]
            });
            assert_eq!(bad, [2.0, 1.0][row]);
        }
        let refused = |devices: &mut Devices, op: TopK| {
            assert!(devices.same(|d| d.issue(&op.clone().into()).is_err()), "{op:?}");
        };
        refused(devices, TopK { x, k: 5, out: Rows { width: 12, n_rows: 1, ..out } });
        refused(devices, TopK { x, k: 1, out });
        refused(devices, TopK { x, k: 2, out: x });
    });
}
