//! [`KvAppend`](puna_core::ops::KvAppend): what is stored is what attention to a single position gives back.

use super::{Conformance, rows, take};
use half::f16;
use puna_core::ops::{Attend, KvAppend, Window};
use puna_core::{Device, Elem, KvView};
use puna_tests::devices::devices;
use puna_tests::seeded::Seeded;

/// Stores `n` rows from `pos` on and reads the values back one by one: a chunk of one position has one softmax weight.
fn case(
    c: &mut Conformance,
    rng: &mut Seeded,
    elem: Elem,
    dims: (usize, usize, usize),
    first: u64,
    pos: u64,
    n: usize,
) {
    let (n_kv_heads, block_tokens, head_dim) = dims;
    let width = n_kv_heads * head_dim;
    let (k, v) = (rng.values(n * width, 4.0), rng.values(n * width, 4.0));
    let n_blocks = ((pos - first) as usize + n).div_ceil(block_tokens);
    let what = format!("KvAppend {elem:?} {n} rows at {pos} of {n_blocks} blocks {dims:?} from {first}");
    let run = |d: &mut dyn Device| {
        let len = 2 * n_kv_heads * block_tokens * head_dim;
        let blocks: Vec<_> = (0..n_blocks).map(|_| d.alloc(elem, len).unwrap()).collect();
        let kv = KvView { blocks: &blocks, block_tokens, first, n_kv_heads, head_dim, elem };
        let (k, v) = (rows(d, &k, width, 1), rows(d, &v, width, 3));
        d.issue(&KvAppend { k, v, kv: &kv, pos }.into()).unwrap();
        let (q, out) =
            (rows(d, &vec![1.0; n * width], width, 0), rows(d, &vec![f32::NAN; n * width], width, 0));
        d.issue(&Attend { q, kv: &kv, out, pos, scale: 1.0, window: Window::Chunk(1) }.into()).unwrap();
        blocks.into_iter().for_each(|b| d.free(b));
        take(d, out, &[k, v, q])
    };
    c.check(&what, run, |_| vec![0.0; n * width]);
    // And that is the value itself, rounded to the element type.
    let stored = run(&mut *c.devices[0].device.fork().unwrap());
    let round = |v: &f32| if elem == Elem::F16 { f16::from_f32(*v).to_f32() } else { *v };
    assert!(stored.iter().copied().eq(v.iter().map(round)), "{what}");
}

#[test]
fn every_layout() {
    let mut c = Conformance::new();
    let mut rng = Seeded(51);
    for elem in [Elem::F16, Elem::F32] {
        for dims in [(1, 1, 1), (2, 4, 8), (3, 7, 5), (8, 16, 128), (1, 256, 64), (2, 5, 33)] {
            let n = 1 + rng.below(12);
            case(&mut c, &mut rng, elem, dims, 0, 0, n);
            case(&mut c, &mut rng, elem, dims, 8192, 8192 + dims.1 as u64 - 1, n);
        }
    }
}

/// A fork shares blocks until one side writes to them.
#[test]
fn forks_do_not_see_each_other() {
    for candidate in devices() {
        let mut d = candidate.device;
        let blocks = [d.alloc(Elem::F16, 2 * 4).unwrap()];
        let kv = KvView {
            blocks: &blocks,
            block_tokens: 4,
            first: 0,
            n_kv_heads: 1,
            head_dim: 1,
            elem: Elem::F16,
        };
        let (k, v) = (rows(&mut *d, &[1.0], 1, 0), rows(&mut *d, &[2.0], 1, 0));
        let (q, out) = (rows(&mut *d, &[1.0], 1, 0), rows(&mut *d, &[0.0], 1, 0));
        d.issue(&KvAppend { k, v, kv: &kv, pos: 0 }.into()).unwrap();
        let mut fork = d.fork().unwrap();
        fork.write(v.buf, 0, &[5.0]).unwrap();
        fork.issue(&KvAppend { k, v, kv: &kv, pos: 0 }.into()).unwrap();
        for (d, expected) in [(&mut d, 2.0), (&mut fork, 5.0)] {
            d.issue(&Attend { q, kv: &kv, out, pos: 0, scale: 1.0, window: Window::Full }.into()).unwrap();
            let mut found = [0.0];
            d.read(&out, &mut found).unwrap();
            assert_eq!(found, [expected], "{}", candidate.label);
        }
    }
}
