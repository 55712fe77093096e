//! The bytes that ops are said to move, against what is bound for them.

use crate::pair::{Pair, Random};
use crate::rows::TIGHT;
use puna_core::ops::{
    Attend, CopyRows, EmbedRows, ExpertFfn, KvAppend, MatMul, Pairs, Picks, QkPrepare, RmsNorm, Rope, Route,
    SwiGlu, TopK, Window,
};
use puna_core::{DType, Device, Elem, Expert, KvView, Layout, Op, Rows};
use puna_gpu::{GpuDevice, Options, Tier, Traffic};

/// What an op moved.
fn moved<'a>(gpu: &mut GpuDevice, op: impl Into<Op<'a>>) -> Traffic {
    let op = op.into();
    let of = |gpu: &GpuDevice| gpu.traffic().into_iter().find(|t| t.op == op.name());
    let before = of(gpu);
    gpu.issue(&op).unwrap();
    let mut now = of(gpu).unwrap();
    if let Some(before) = before {
        now.read -= before.read;
        now.written -= before.written;
        now.bound -= before.bound;
    }
    now
}

/// Nothing that is bound is left out, and nothing is counted that is not bound: reads and writes are the bytes of all
/// bindings, with those that are read and written twice. Bindings may begin a little before their operand and end after.
#[test]
fn what_is_bound_is_what_is_counted() {
    let mut gpu = GpuDevice::open(&Options::new().tier(Tier::Shared)).unwrap();
    let mut random = Random(5);
    // Whole blocks of every format, and rows in whole vectors of 16 bytes.
    let (hidden, n_ff, kv_width) = (512, 768, 256);
    let mut load = |gpu: &mut GpuDevice, dtype, n_out, n_in| {
        let mut pair = Pair::on(gpu.fork().unwrap(), random.bits());
        let (bytes, stride) = pair.packed(dtype, n_out, n_in, TIGHT);
        let weight = gpu.load(&puna_core::Region::from_vec(bytes)).unwrap();
        puna_core::Mat { stride, layout: Layout::OutIn, ..puna_core::Mat::plain(weight, dtype, n_out, n_in) }
    };
    for n in [1, 2] {
        let rows = |gpu: &mut GpuDevice, width| Rows::new(gpu.alloc(Elem::F32, n * width).unwrap(), n, width);
        let (x, h) = (rows(&mut gpu, hidden), rows(&mut gpu, hidden));
        let inner = rows(&mut gpu, n_ff);
        let (k, v) = (rows(&mut gpu, kv_width), rows(&mut gpu, kv_width));
        let bytes = |rows: Rows| 4 * rows.len() as u64;
        let check = |t: Traffic, twice: u64, bindings: u64, case: &str| {
            let (found, slack) = (t.read + t.written - twice, bindings * 256);
            assert!(
                t.bound <= found + slack && found <= t.bound + slack,
                "{case}, {n} rows: {found} of {t:?}"
            );
        };
        let norm = load(&mut gpu, DType::F32, 1, hidden);
        let weight = puna_core::Vector { weight: norm.weight, offset: 0, len: hidden };
        check(moved(&mut gpu, RmsNorm { x: h, weight, eps: 1e-5, out: x }), 0, 3, "RmsNorm");
        for dtype in [DType::F32, DType::Q4_K, DType::Q5_K, DType::BF16] {
            let w = load(&mut gpu, dtype, hidden, hidden);
            // Each row or tile of rows loads the weights.
            let again = (n as u64 - 1) * w.bytes();
            let op = |add| MatMul { x, w: &w, bias: None, out: h, add };
            check(moved(&mut gpu, op(false)), again, 3, &format!("MatMul {dtype}"));
            check(moved(&mut gpu, op(true)), again + bytes(h), 3, &format!("MatMul {dtype} added"));
            let (gate, up) = (load(&mut gpu, dtype, n_ff, hidden), load(&mut gpu, dtype, n_ff, hidden));
            let op = SwiGlu { x, gate: &gate, up: &up, out: inner };
            check(moved(&mut gpu, op), (n as u64 - 1) * 2 * gate.bytes(), 4, &format!("SwiGlu {dtype}"));
            let down = load(&mut gpu, dtype, hidden, n_ff);
            let expert = Expert { gate, up, down };
            let (ids, scores) = (gpu.alloc(Elem::U32, n).unwrap(), gpu.alloc(Elem::F32, n).unwrap());
            let picks = Picks { ids, scores, top_k: 1 };
            let op = ExpertFfn { x, experts: &[expert], picks, out: h };
            let again = (n as u64 - 1) * (gate.bytes() + up.bytes() + down.bytes());
            // The scratch of the inner rows is written, read and bound twice.
            check(moved(&mut gpu, op), again + bytes(h), 12, &format!("ExpertFfn {dtype}"));
            let op = EmbedRows { table: &w, tokens: &[7, 3][..n], out: h };
            let t = moved(&mut gpu, op);
            assert_eq!((t.read, t.written), (n as u64 * (w.row_bytes().unwrap() as u64 + 4), bytes(h)));
        }
        let router = load(&mut gpu, DType::F32, 16, hidden);
        let (ids, scores) = (gpu.alloc(Elem::U32, n).unwrap(), gpu.alloc(Elem::F32, n).unwrap());
        let op = Route { x, router: &router, always: None, picks: Picks { ids, scores, top_k: 1 } };
        check(moved(&mut gpu, op), (n as u64 - 1) * router.bytes(), 4, "Route");
        check(moved(&mut gpu, CopyRows { from: x, to: h, add: false }), 0, 2, "CopyRows");
        check(moved(&mut gpu, CopyRows { from: x, to: h, add: true }), bytes(h), 2, "CopyRows added");
        let rope = Some(Rope { inv_freq: puna_core::Vector { len: 32, ..weight }, pairs: Pairs::Half });
        let op = QkPrepare { x: h, head_dim: 64, pos: 3, rope, norm_eps: None, temperature: None };
        check(moved(&mut gpu, op), bytes(h), 2, "QkPrepare");
        check(moved(&mut gpu, TopK { x, k: 1, out: Rows { width: 4, ..h } }), 0, 2, "TopK");

        // A cache is bound whole, and what is not yet in it is not read.
        let (head_dim, block_tokens) = (64, 8);
        let blocks = [gpu.alloc(Elem::F16, 2 * kv_width * block_tokens).unwrap()];
        let kv = KvView { blocks: &blocks, block_tokens, first: 0, n_kv_heads: 4, head_dim, elem: Elem::F16 };
        let t = moved(&mut gpu, KvAppend { k, v, kv: &kv, pos: 0 });
        assert_eq!((t.read, t.written), (bytes(k) + bytes(v), bytes(k)));
        let op = Attend { q: h, kv: &kv, out: x, pos: 0, scale: 1.0, window: Window::Full };
        let t = moved(&mut gpu, op);
        assert_eq!((t.read, t.written), (bytes(h) + bytes(k), bytes(x)));
    }
}
