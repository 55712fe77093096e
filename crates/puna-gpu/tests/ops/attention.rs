//! The cache and attention: both element types, blocks, windows, groups of heads.

use crate::pair::{Pair, able, tolerance};
use puna_core::ops::{Attend, KvAppend, Pairs, QkPrepare, Rope, Temperature, Window};
use puna_core::{Buf, Elem, KvView, Rows};
use puna_gpu::Tier;

struct Shape {
    n_kv_heads: usize,
    group: usize,
    head_dim: usize,
    block_tokens: usize,
}

/// Appends `steps` batches of rows and attends after each, with the last rows of long ones: in the tier for software
/// drivers, which has a kernel of its own, and in one for GPUs.
fn run(elem: Elem, shape: &Shape, window: Window, steps: &[usize]) {
    for tier in [Tier::Lanes, Tier::Shared].into_iter().filter(|tier| able(*tier)) {
        run_in(tier, elem, shape, window, steps);
    }
}

fn run_in(tier: Tier, elem: Elem, shape: &Shape, window: Window, steps: &[usize]) {
    let Shape { n_kv_heads, group, head_dim, block_tokens } = *shape;
    let mut pair = Pair { step: 1, ..Pair::in_tier(tier, head_dim as u64 + steps.len() as u64) };
    let total: usize = steps.iter().sum();
    let len = 2 * n_kv_heads * block_tokens * head_dim;
    let blocks: Vec<Buf> = (0..total.div_ceil(block_tokens)).map(|_| pair.alloc(elem, len)).collect();
    let kv = KvView { blocks: &blocks, block_tokens, first: 0, n_kv_heads, head_dim, elem };
    let mut pos = 0;
    for &n in steps {
        let (k, v) = (pair.rows(n, n_kv_heads * head_dim), pair.rows(n, n_kv_heads * head_dim));
        pair.issue(KvAppend { k, v, kv: &kv, pos });
        let width = group * n_kv_heads * head_dim;
        let m = n.min(40);
        let (q, out) = (pair.rows(m, width), pair.rows(m, width));
        let scale = 3.0 / (head_dim as f32).sqrt();
        pair.issue(Attend { q, kv: &kv, out, pos: pos + (n - m) as u64, scale, window });
        pair.same(&out, tolerance::EXPONENTIAL, &format!("{tier:?} {elem:?} {window:?} {steps:?} at {pos}"));
        pos += n as u64;
    }
}

#[test]
fn windows_blocks_and_groups() {
    let shapes = [
        Shape { n_kv_heads: 1, group: 1, head_dim: 8, block_tokens: 3 },
        Shape { n_kv_heads: 2, group: 3, head_dim: 16, block_tokens: 16 },
        Shape { n_kv_heads: 3, group: 1, head_dim: 7, block_tokens: 5 },
        Shape { n_kv_heads: 2, group: 5, head_dim: 64, block_tokens: 40 },
        // More heads than a slice has slots, and heads longer than a workgroup sums.
        Shape { n_kv_heads: 1, group: 11, head_dim: 135, block_tokens: 2 },
    ];
    for shape in &shapes {
        for elem in [Elem::F32, Elem::F16] {
            for window in [Window::Full, Window::Chunk(5), Window::Chunk(1), Window::Chunk(1 << 40)] {
                run(elem, shape, window, &[12, 1, 1, 7]);
                run(elem, shape, window, &[1, 1, 1, 1, 1, 1]);
            }
        }
    }
}

#[test]
fn more_keys_than_a_tile_and_large_scores() {
    let shape = Shape { n_kv_heads: 1, group: 2, head_dim: 32, block_tokens: 100 };
    let wide = Shape { head_dim: 88, ..shape };
    run(Elem::F16, &wide, Window::Full, &[130, 1]);
    run(Elem::F32, &wide, Window::Chunk(70), &[50, 1]);
    run(Elem::F16, &shape, Window::Full, &[130, 1]);
    run(Elem::F32, &shape, Window::Chunk(70), &[150, 1]);
}

/// So many keys that they are attended to in parts, over more blocks than one dispatch binds; and as many rows at once.
#[test]
fn parts_of_the_keys() {
    for (elem, head_dim) in [(Elem::F16, 16), (Elem::F32, 16), (Elem::F16, 150)] {
        let shape = Shape { n_kv_heads: 2, group: 2, head_dim, block_tokens: 64 };
        run(elem, &shape, Window::Full, &[400, 1, 3]);
        run(elem, &shape, Window::Chunk(350), &[500, 1, 5]);
    }
}

/// A chunk cache that holds only its own chunk, far from position 0.
#[test]
fn a_cache_that_begins_late() {
    for elem in [Elem::F32, Elem::F16] {
        let mut pair = Pair::new(4);
        let (head_dim, block_tokens, first) = (8, 4, 10_000_000);
        let blocks: Vec<Buf> = (0..3).map(|_| pair.alloc(elem, 2 * 2 * block_tokens * head_dim)).collect();
        let kv = KvView { blocks: &blocks, block_tokens, first, n_kv_heads: 2, head_dim, elem };
        let (k, v) = (pair.rows(11, 16), pair.rows(11, 16));
        pair.issue(KvAppend { k, v, kv: &kv, pos: first });
        // Ten million is a multiple of 8: rows 5 .. 8 see the first chunk, the others their own.
        for (n, pos) in [(6, first + 5), (1, first + 10)] {
            let (q, out) = (pair.rows(n, 32), pair.rows(n, 32));
            pair.issue(Attend { q, kv: &kv, out, pos, scale: 0.4, window: Window::Chunk(8) });
            pair.same(&out, tolerance::EXPONENTIAL, &format!("{elem:?} at {pos}"));
        }
    }
}

/// Stored f16 values are the nearest ones, ties to even, as the reference's; seen through attention to one position.
#[test]
fn rounding_to_f16_is_exact() {
    for head_dim in [8, 7] {
        let mut pair = Pair::new(8);
        let mut values: Vec<f32> = [
            65504.0,
            65519.9,
            -65519.9,
            6e-8,
            2.9e-8,
            2.98e-8,
            -8.9e-8,
            6.1e-5,
            6.09e-5,
            1.000_488_3,
            1.000_976_6,
            1.001_464_8,
            2049.0,
            2051.0,
            0.0,
            -0.0,
            3.05e-5,
            -1e-30,
            0.333_333_3,
            1e-7,
            4097.0,
        ]
        .to_vec();
        values.truncate(values.len() / head_dim * head_dim);
        let n = values.len() / head_dim;
        let block = [pair.alloc(Elem::F16, 2 * n * head_dim)];
        let kv =
            KvView { blocks: &block, block_tokens: n, first: 0, n_kv_heads: 1, head_dim, elem: Elem::F16 };
        let rows = pair.rows(n, head_dim);
        pair.write(rows.buf, rows.offset, &values);
        let zeros = pair.alloc(Elem::F32, n * head_dim);
        let zeros = Rows::new(zeros, n, head_dim);
        pair.issue(KvAppend { k: zeros, v: rows, kv: &kv, pos: 0 });
        let out = pair.rows(n, head_dim);
        pair.issue(Attend { q: zeros, kv: &kv, out, pos: 0, scale: 1.0, window: Window::Chunk(1) });
        let (found, expected) = pair.read(&out);
        assert_eq!(found, expected, "{head_dim}");
    }
}

/// One row whose query, key and value share memory, as in decode: prepared and stored in one dispatch of the tiers for GPUs.
#[test]
fn a_row_is_prepared_and_stored_at_once() {
    let (heads, n_kv_heads, block_tokens) = (6, 2, 5);
    for (tier, elem, head_dim) in [
        (Tier::Shared, Elem::F16, 64),
        (Tier::Subgroup, Elem::F32, 16),
        (Tier::Shared, Elem::F16, 7),
        (Tier::Lanes, Elem::F16, 64),
    ]
    .into_iter()
    .filter(|case| able(case.0))
    {
        let odd = elem == Elem::F16 && head_dim == 7;
        let mut pair = Pair { step: 1, ..Pair::in_tier(tier, head_dim as u64) };
        let inv_freq = pair.vector(head_dim / 2);
        let blocks = [0; 3].map(|_| pair.alloc(elem, 2 * n_kv_heads * block_tokens * head_dim));
        let kv = KvView { blocks: &blocks, block_tokens, first: 0, n_kv_heads, head_dim, elem };
        let (q_width, kv_width) = (heads * head_dim, n_kv_heads * head_dim);
        for pos in 0..11 {
            let all = pair.rows(1, q_width + 2 * kv_width);
            let at = |offset: usize, width: usize| Rows { offset: all.offset + offset, width, ..all };
            let (q, k, v) = (at(0, q_width), at(q_width, kv_width), at(q_width + kv_width, kv_width));
            // Keys are prepared with the queries, or not at all.
            let both = pos % 3 != 2;
            let pairs = if pos % 2 == 0 { Pairs::Half } else { Pairs::Interleaved };
            let rope = both.then_some(Rope { inv_freq, pairs });
            let temperature = (!both).then_some(Temperature { floor_scale: 3.0, scale: 0.1 });
            let x = if both { at(0, q_width + kv_width) } else { q };
            let norm_eps = (pos % 2 == 1).then_some(1e-5);
            let dispatches =
                |pair: &Pair| pair.gpu.counters().iter().find(|c| c.0 == "dispatches").unwrap().1;
            let before = dispatches(&pair);
            pair.issue(QkPrepare { x, head_dim, pos, rope, norm_eps, temperature });
            pair.issue(KvAppend { k, v, kv: &kv, pos });
            let separate = odd || tier == Tier::Lanes;
            let case = format!("{tier:?} {elem:?} heads of {head_dim} at {pos}");
            assert_eq!(dispatches(&pair) - before, if separate { 2 } else { 1 }, "{case}");
            let out = pair.rows(1, q_width);
            pair.issue(Attend { q, kv: &kv, out, pos, scale: 0.3, window: Window::Full });
            pair.same(&all, tolerance::NORM, &case);
            pair.same(&out, tolerance::EXPONENTIAL, &case);
        }
    }
}

/// Rows in other memory, or something between, keep the two ops apart.
#[test]
fn what_does_not_belong_together_is_apart() {
    let mut pair = Pair::in_tier(Tier::Shared, 3);
    let block = [pair.alloc(Elem::F32, 2 * 2 * 8 * 16)];
    let kv =
        KvView { blocks: &block, block_tokens: 8, first: 0, n_kv_heads: 2, head_dim: 16, elem: Elem::F32 };
    let (x, k, v) = (pair.rows(1, 64), pair.rows(1, 32), pair.rows(1, 32));
    let prepare =
        |x| QkPrepare { x, head_dim: 16, pos: 2, rope: None, norm_eps: Some(1e-5), temperature: None };
    pair.issue(prepare(x));
    pair.issue(KvAppend { k, v, kv: &kv, pos: 2 });
    pair.issue(prepare(k));
    pair.same(&k, tolerance::NORM, "read between");
    pair.issue(KvAppend { k, v, kv: &kv, pos: 3 });
    // Keys before the heads that are prepared, which values overlap.
    let part = |offset: usize, width: usize| Rows { offset: x.offset + offset, width, ..x };
    pair.issue(prepare(part(0, 64)));
    pair.issue(KvAppend { k: part(0, 32), v: part(16, 32), kv: &kv, pos: 4 });
    let out = pair.rows(1, 64);
    for pos in [2, 3, 4] {
        pair.issue(Attend { q: x, kv: &kv, out, pos, scale: 0.3, window: Window::Chunk(1) });
        pair.same(&out, tolerance::EXPONENTIAL, &format!("at {pos}"));
    }
}
