//! [`Attend`](puna_core::ops::Attend): full and chunked, one row and many, over caches of several blocks.

use super::{Conformance, rows, take};
use puna_core::ops::{Attend, KvAppend, Window};
use puna_core::{Device, Elem, KvView};
use puna_tests::seeded::Seeded;
use puna_tests::tolerance::{SUM, attention};

struct Case {
    elem: Elem,
    group: usize,
    n_kv_heads: usize,
    head_dim: usize,
    block_tokens: usize,
    /// Position of the first slot of the cache.
    first: u64,
    /// Position of the first query.
    pos: u64,
    n: usize,
    window: Window,
    /// Size of queries and keys: large ones make the softmax a choice of one.
    size: f32,
}

fn check(c: &mut Conformance, rng: &mut Seeded, case: &Case) {
    let Case { elem, n_kv_heads, head_dim, block_tokens, first, pos, n, window, size, .. } = *case;
    let (width, kv_width) = (case.group * n_kv_heads * head_dim, n_kv_heads * head_dim);
    let cached = (pos - first) as usize + n;
    let (k, v) = (rng.values(cached * kv_width, size), rng.values(cached * kv_width, 1.0));
    let q = rng.values(n * width, size);
    let scale = 1.0 / (head_dim as f32).sqrt();
    let what = format!(
        "Attend {elem:?}, {n} rows at {pos}, {}x{n_kv_heads} heads of {head_dim}, blocks of {block_tokens} from {first}, {window:?}",
        case.group
    );
    let run = |d: &mut dyn Device| {
        let len = 2 * n_kv_heads * block_tokens * head_dim;
        let blocks: Vec<_> =
            (0..cached.div_ceil(block_tokens)).map(|_| d.alloc(elem, len).unwrap()).collect();
        let kv = KvView { blocks: &blocks, block_tokens, first, n_kv_heads, head_dim, elem };
        let (k, v) = (rows(d, &k, kv_width, 0), rows(d, &v, kv_width, 0));
        d.issue(&KvAppend { k, v, kv: &kv, pos: first }.into()).unwrap();
        let (q, out) = (rows(d, &q, width, 7), rows(d, &vec![f32::NAN; n * width], width, 2));
        d.issue(&Attend { q, kv: &kv, out, pos, scale, window }.into()).unwrap();
        blocks.into_iter().for_each(|b| d.free(b));
        take(d, out, &[k, v, q])
    };
    // The largest score there can be, summed with its rounding; values are at most one.
    let score = f64::from(size * size * scale) * head_dim as f64;
    c.check(&what, run, |_| vec![attention(SUM * score, 1.0); n * width]);
}

#[test]
fn full_and_chunked_over_blocks() {
    let mut c = Conformance::new();
    let mut rng = Seeded(61);
    for elem in [Elem::F16, Elem::F32] {
        for (group, n_kv_heads, head_dim) in
            [(1, 1, 1), (2, 2, 8), (3, 1, 12), (5, 8, 128), (4, 2, 33), (8, 1, 64)]
        {
            for (before, n) in [(0, 1), (40, 1), (0, 13), (29, 5), (3, 40)] {
                let block_tokens = [1, 7, 16, 256][rng.below(4)];
                let size = [0.5, 1.0, 4.0][rng.below(3)];
                let case = Case {
                    elem,
                    group,
                    n_kv_heads,
                    head_dim,
                    block_tokens,
                    first: 0,
                    pos: before,
                    n,
                    window: Window::Full,
                    size,
                };
                check(&mut c, &mut rng, &case);
                let chunk = 1 + rng.below(20) as u64;
                check(&mut c, &mut rng, &Case { window: Window::Chunk(chunk), ..case });
            }
        }
    }
}

/// The cache of a chunked layer begins at its chunk, wherever that is.
#[test]
fn a_cache_that_begins_late() {
    let mut c = Conformance::new();
    let mut rng = Seeded(62);
    for first in [8, 8192, 9_999_360] {
        for (before, n) in [(0, 1), (5, 1), (0, 8), (2, 6)] {
            let case = Case {
                elem: Elem::F16,
                group: 2,
                n_kv_heads: 2,
                head_dim: 16,
                block_tokens: 8,
                first,
                pos: first + before,
                n,
                window: Window::Chunk(8),
                size: 1.0,
            };
            check(&mut c, &mut rng, &case);
        }
    }
}

/// Enough keys that a device splits them among tasks.
#[test]
fn a_long_cache() {
    let mut c = Conformance::new();
    let mut rng = Seeded(63);
    for (n, window) in
        [(1, Window::Full), (1, Window::Chunk(1024)), (3, Window::Full), (20, Window::Chunk(300))]
    {
        let case = Case {
            elem: Elem::F16,
            group: 4,
            n_kv_heads: 2,
            head_dim: 64,
            block_tokens: 256,
            first: 0,
            pos: 3000,
            n,
            window,
            size: 1.5,
        };
        check(&mut c, &mut rng, &case);
    }
}
