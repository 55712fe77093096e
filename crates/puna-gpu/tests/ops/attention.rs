//! The cache and attention: both element types, blocks, windows, groups of heads.

use crate::pair::{Pair, tolerance};
use puna_core::ops::{Attend, KvAppend, Window};
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
    for tier in [Tier::Lanes, Tier::Shared] {
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
