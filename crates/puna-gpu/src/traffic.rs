//! The bytes that ops move, by formulas of what their kernels load and store.
//!
//! Weights of products are counted load by load, for every workgroup that loads them. All else (activations, tables, keys
//! and values) is counted once for an op, or for each part of it that loads it again: a row is some 20 KB and stays in the
//! caches, while the weights pass through them once.

use crate::ops::swiglu::fusable;
use puna_core::ops::Attend;
use puna_core::{Elem, Op, Rows, Vector};
use puna_shaders::quant::Format;
use puna_shaders::{Shape, Tier};

/// What a device has moved for an op, since it was opened or forked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// The op's name.
    pub op: &'static str,
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
    /// Bytes of what was bound, or copied from and to: each binding once a dispatch. An op reads all of it, or part.
    pub bound: u64,
}

/// Bytes that an op reads and writes beside the weights of its products, where it is computed in one piece.
pub(crate) fn moved(op: &Op<'_>) -> (u64, u64) {
    match op {
        Op::EmbedRows(op) => {
            let row = op.table.row_bytes().unwrap_or(0) as u64;
            ((row + 4) * op.tokens.len() as u64 + factors(op.table.scale), rows(&op.out))
        }
        Op::RmsNorm(op) => (rows(&op.x) + vector(&op.weight), rows(&op.out)),
        Op::LayerNorm(op) => (rows(&op.x) + vector(&op.weight) + vector(&op.bias), rows(&op.out)),
        Op::MatMul(op) => {
            let again = if op.add { rows(&op.out) } else { 0 };
            (rows(&op.x) + again + factors(op.w.scale) + factors(op.bias), rows(&op.out))
        }
        Op::QkPrepare(op) => {
            // Position and temperature of each row.
            let facts = 8 * op.x.n_rows as u64;
            (rows(&op.x) + facts + factors(op.rope.map(|rope| rope.inv_freq)), rows(&op.x))
        }
        Op::KvAppend(op) => {
            let values = (op.k.len() + op.v.len()) as u64;
            (4 * values, values * op.kv.elem.bytes() as u64)
        }
        Op::Attend(op) => (rows(&op.q) + seen(op), rows(&op.out)),
        Op::SwiGlu(op) => {
            let scales = factors(op.gate.scale) + factors(op.up.scale);
            // The second product, written and read, and the first one read again.
            let apart = if fusable(op.gate, op.up) { 0 } else { rows(&op.out) };
            (rows(&op.x) + scales + 2 * apart, rows(&op.out) + 2 * apart)
        }
        Op::Route(op) => {
            let logits = 4 * (op.x.n_rows * op.router.n_out) as u64;
            let picks = 8 * (op.x.n_rows * op.picks.top_k) as u64;
            (rows(&op.x) + logits + factors(op.router.scale), logits + picks)
        }
        Op::ExpertFfn(op) => {
            let picks = (op.x.n_rows * op.picks.top_k) as u64;
            let inner = 4 * picks * op.experts.first().map_or(0, |e| e.gate.n_out) as u64;
            // Ids, scores and the experts' places.
            let table = 8 * picks + 2 * 12 * op.experts.len() as u64;
            (rows(&op.x) + inner + rows(&op.out) + table, inner + rows(&op.out))
        }
        Op::CopyRows(op) => {
            let again = if op.add { rows(&op.to) } else { 0 };
            (rows(&op.from) + again, rows(&op.to))
        }
        Op::AddRows(op) => (rows(&op.x) + vector(&op.table), rows(&op.x)),
        Op::Rope2d(op) => (rows(&op.x) + vector(&op.inv_freq), rows(&op.x)),
        Op::Gelu(op) => (rows(&op.x), rows(&op.x)),
        Op::AttendAll(op) => (rows(&op.q) + rows(&op.k) + rows(&op.v), rows(&op.out)),
        Op::PixelShuffle(op) => (rows(&op.x), rows(&op.out)),
        Op::TopK(op) => (rows(&op.x), rows(&op.out)),
    }
}

/// Bytes of the keys and values that any of the queries sees.
pub(crate) fn seen(op: &Attend<'_>) -> u64 {
    let first = op.window.start(op.pos).max(op.kv.first);
    let positions = (op.pos + op.q.n_rows as u64).saturating_sub(first);
    positions * (2 * op.kv.n_kv_heads * op.kv.head_dim * op.kv.elem.bytes()) as u64
}

fn rows(rows: &Rows) -> u64 {
    (rows.len() * Elem::F32.bytes()) as u64
}

fn vector(v: &Vector) -> u64 {
    4 * v.len as u64
}

fn factors(v: Option<Vector>) -> u64 {
    v.as_ref().map_or(0, vector)
}

/// The name under which a device's counters have the bytes of an op, read and written.
pub(crate) fn label(op: &'static str) -> &'static str {
    match op {
        "EmbedRows" => "bytes of EmbedRows",
        "RmsNorm" => "bytes of RmsNorm",
        "MatMul" => "bytes of MatMul",
        "QkPrepare" => "bytes of QkPrepare",
        "KvAppend" => "bytes of KvAppend",
        "Attend" => "bytes of Attend",
        "SwiGlu" => "bytes of SwiGlu",
        "Route" => "bytes of Route",
        "ExpertFfn" => "bytes of ExpertFfn",
        "LayerNorm" => "bytes of LayerNorm",
        "Gelu" => "bytes of Gelu",
        "AddRows" => "bytes of AddRows",
        "Rope2d" => "bytes of Rope2d",
        "AttendAll" => "bytes of AttendAll",
        "PixelShuffle" => "bytes of PixelShuffle",
        "CopyRows" => "bytes of CopyRows",
        "TopK" => "bytes of TopK",
        _ => "bytes of others",
    }
}

/// Values of a step of `matmul/shared_row`.
const STEP: usize = 512;

/// Bytes of the weights of one output.
fn row_bytes(format: Format, n_in: usize) -> usize {
    // Plain formats are blocks of eight here, and rows may end within one.
    if format.plain {
        n_in * (format.block_bytes / format.block_len)
    } else {
        n_in / format.block_len * format.block_bytes
    }
}

/// Bytes of weights that one row or tile of rows loads, by a matrix whose outputs begin every `stride` bytes from byte
/// `base` of its binding on.
pub(crate) fn weights(
    (tier, shape): (Tier, Shape),
    format: Format,
    (base, stride): (usize, usize),
    (n_in, n_out): (usize, usize),
) -> u64 {
    let bytes = row_bytes(format, n_in);
    if !tier.shared() || shape == Shape::Tile {
        return (bytes * n_out) as u64;
    }
    // Steps come in whole vectors of 16 bytes, the first and the last of which a step may share with its neighbours.
    let step = STEP / format.block_len * format.block_bytes;
    let one = |o: usize| {
        let start = base + o * stride;
        (0..bytes)
            .step_by(step.max(1))
            .map(|at| {
                let end = start + (at + step).min(bytes);
                16 * (end.div_ceil(16) - (start + at) / 16)
            })
            .sum::<usize>() as u64
    };
    // How outputs lie among vectors of 16 bytes repeats after 16 of them.
    let (rounds, rest) = ((n_out / 16) as u64, n_out % 16);
    let round: u64 = if rounds > 0 { (0..16).map(one).sum() } else { 0 };
    rounds * round + (0..rest).map(one).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use puna_core::ops::{
        Attend, EmbedRows, ExpertFfn, KvAppend, MatMul, Pairs, Picks, QkPrepare, RmsNorm, Rope, Route, TopK,
        Window,
    };
    use puna_core::{Buf, DType, Expert, KvView, Mat, Weight};
    use puna_shaders::quant::{FORMATS, by_name};

    const ROW: (Tier, Shape) = (Tier::Subgroup, Shape::Row);

    /// A walk through the loads of `matmul/shared_row`, lane by lane.
    fn walked(format: Format, (base, stride): (usize, usize), (n_in, n_out): (usize, usize)) -> u64 {
        let (step_bytes, bytes) = (STEP / format.block_len * format.block_bytes, row_bytes(format, n_in));
        let step_words = step_bytes.div_ceil(16) + 1;
        let mut loads = 0;
        for o in 0..n_out {
            for first in (0..n_in).step_by(STEP) {
                let start = base + o * stride + first / format.block_len * format.block_bytes;
                let here = step_bytes.min(bytes - first / format.block_len * format.block_bytes);
                loads += (0..step_words).filter(|i| (start / 16 + i) * 16 < start + here).count();
            }
        }
        16 * loads as u64
    }

    #[test]
    fn formula_is_what_the_lanes_load() {
        for format in FORMATS {
            for (base, gap) in [(0, 0), (13, 6)] {
                for (n_in, n_out) in [(768, 5), (512, 16), (256, 37), (1280, 40)] {
                    let stride = row_bytes(format, n_in) + gap;
                    let (at, dims) = ((base, stride), (n_in, n_out));
                    let found = weights(ROW, format, at, dims);
                    assert_eq!(found, walked(format, at, dims), "{} {at:?} {dims:?}", format.stem);
                    // No less than there is.
                    assert!(found >= (row_bytes(format, n_in) * n_out) as u64);
                }
            }
        }
    }

    /// Bytes of the matrices that a token reads, and all bytes that its ops move, with those of each op.
    #[derive(Default)]
    struct Token {
        held: u64,
        moved: u64,
        ops: Vec<(&'static str, u64)>,
    }

    impl Token {
        fn issue<'a>(&mut self, op: impl Into<Op<'a>>, mats: &[&Mat]) {
            let op = op.into();
            let (read, written) = moved(&op);
            let mut sum = read + written;
            for mat in mats {
                let format = by_name(mat.dtype.name()).unwrap();
                self.held += mat.bytes();
                sum += weights(ROW, format, (0, mat.stride), (mat.n_in, mat.n_out));
            }
            self.moved += sum;
            match self.ops.iter_mut().find(|(name, _)| *name == op.name()) {
                Some((_, of)) => *of += sum,
                None => self.ops.push((op.name(), sum)),
            }
        }
    }

    fn product(x: Rows, w: &Mat, out: Rows, add: bool) -> MatMul<'_> {
        MatMul { x, w, bias: None, out, add }
    }

    /// One token of Llama 4 Scout at position 0, as the forward pass issues it to a GPU: format of most matrices, of `v` and
    /// `down` in half of the layers, and of the head.
    fn scout(most: DType, more: DType, head: DType) -> Token {
        let (hidden, kv_width, ff, vocab, layers) = (5120, 1024, 8192, 202_048, 48);
        let row = |i: u32, width: usize| Rows::new(Buf(i), 1, width);
        let mat = |dtype, n_out, n_in| Mat::plain(Weight(0), dtype, n_out, n_in);
        let weight = Vector { weight: Weight(0), offset: 0, len: hidden };
        let (h, normed, inner) = (row(0, hidden), row(1, hidden), row(2, hidden));
        let blocks = [Buf(9)];
        let kv = KvView {
            blocks: &blocks,
            block_tokens: 256,
            first: 0,
            n_kv_heads: 8,
            head_dim: 128,
            elem: Elem::F16,
        };
        let norm = RmsNorm { x: h, weight, eps: 1e-5, out: normed };
        let mut token = Token::default();
        let table = mat(most, vocab, hidden);
        token.issue(EmbedRows { table: &table, tokens: &[1], out: h }, &[]);
        token.held += table.row_bytes().unwrap() as u64;
        for layer in 0..layers {
            let some = if layer % 2 == 0 { most } else { more };
            let (q, k, v) = (row(3, hidden), row(4, kv_width), row(5, kv_width));
            let (qk, wv, o) = (
                mat(most, hidden + kv_width, hidden),
                mat(some, kv_width, hidden),
                mat(most, hidden, hidden),
            );
            token.issue(norm.clone(), &[]);
            token.issue(product(normed, &qk, row(3, hidden + kv_width), false), &[&qk]);
            token.issue(product(normed, &wv, v, false), &[&wv]);
            let rope = Some(Rope { inv_freq: Vector { len: 64, ..weight }, pairs: Pairs::Interleaved });
            let x = row(3, hidden + kv_width);
            let norm_eps = Some(1e-5);
            token.issue(QkPrepare { x, head_dim: 128, pos: 0, rope, norm_eps, temperature: None }, &[]);
            token.issue(KvAppend { k, v, kv: &kv, pos: 0 }, &[]);
            token.issue(Attend { q, kv: &kv, out: inner, pos: 0, scale: 0.1, window: Window::Full }, &[]);
            token.issue(product(inner, &o, h, true), &[&o]);
            token.issue(norm.clone(), &[]);
            let router = mat(DType::F32, 16, hidden);
            let picks = Picks { ids: Buf(6), scores: Buf(7), top_k: 2 };
            token.issue(Route { x: normed, router: &router, always: Some(16), picks }, &[&router]);
            let (first, down) = (mat(most, ff, hidden), mat(some, hidden, ff));
            let experts = [Expert { gate: first, up: first, down }; 17];
            // The chosen expert and the shared one.
            let read = [&first, &first, &down, &first, &first, &down];
            token.issue(ExpertFfn { x: normed, experts: &experts, picks, out: h }, &read);
        }
        let head = mat(head, vocab, hidden);
        token.issue(norm, &[]);
        token.issue(product(normed, &head, row(8, vocab), false), &[&head]);
        token.issue(TopK { x: row(8, vocab), k: 64, out: row(3, 130) }, &[]);
        token
    }

    /// What the crate's documentation and the README say of it.
    #[test]
    fn a_token_of_scout_moves_little_but_its_weights() {
        use DType::{Q4_K, Q6_K, Q8_0};
        for (formats, gb, factor) in
            [([Q4_K, Q6_K, Q6_K], "9.91", "1.010"), ([Q8_0, Q8_0, Q8_0], "17.16", "1.002")]
        {
            let token = scout(formats[0], formats[1], formats[2]);
            let ratio = token.moved as f64 / token.held as f64;
            assert!(ratio <= 1.05, "{ratio}: {:?}", token.ops);
            assert_eq!(token.moved, token.ops.iter().map(|op| op.1).sum::<u64>());
            let said = (format!("{:.2}", token.held as f64 / 1e9), format!("{ratio:.3}"));
            assert_eq!(said, (gb.into(), factor.into()), "{:?}", token.ops);
        }
    }
}
