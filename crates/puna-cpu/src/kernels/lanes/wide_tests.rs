//! The widest vectors of every instruction set against the portable ones, operation by operation: columns, and 64-byte vectors
//! where there are any.

use super::tests::{Random, all_isas};
use super::{Columns, Kernel, Lanes, Portable, Wide, columns_tests};
use alloc::vec;
use alloc::vec::Vec;

/// Names and results: as many lanes of 32 bits as there are.
pub(super) type Results = Vec<(&'static str, Vec<u32>)>;

struct Vectors<'a> {
    bytes: [[u8; 64]; 3],
    out: &'a mut Results,
}

impl Kernel for Vectors<'_> {
    #[inline(always)]
    fn run<L: Columns>(self, l: L) {
        columns_tests::all(l, &self.bytes, self.out);
        if const { L::WIDE } {
            all::<L::Wide>(l.wide(), &self.bytes, self.out);
        }
    }
}

#[inline(always)]
fn all<W: Wide>(l: W, bytes: &[[u8; 64]; 3], out: &mut Results) {
    let [a, b, c] = [l.tbytes(&bytes[0]), l.tbytes(&bytes[1]), l.tbytes(&bytes[2])];
    let mut put = |name, v: W::T| {
        let mut to = vec![0; 16];
        let (low, high) = to.split_at_mut(8);
        l.store(l.tlow(v), low);
        l.store(l.thigh(v), high);
        out.push((name, to));
    };
    put("tbytes", a);
    put("ttwice", l.ttwice(bytes[0].first_chunk().unwrap()));
    let windows: [&[u8; 16]; 4] = [0, 5, 40, 48].map(|at| bytes[0][at..].first_chunk().unwrap());
    put("tjoin4", l.tjoin4(windows));
    put("thalves", l.thalves(l.thigh(a), l.tlow(b)));
    put("txor", l.txor(a, b));
    put("tshr16", l.tshr16(a, [0, 1, 4, 7]));
    put("tshl16", l.tshl16(a, [5, 1, 0, 2]));
    put("tsub16", l.tsub16(a, b));
    put("tmul16", l.tmul16(a, b));
    put("tadd32", l.tadd32(a, b));
    put("tsub32", l.tsub32(a, b));
    put("tadd8_where", l.tadd8_where(a, l.tsplat8(16), b, l.tsplat8(6)));
    put("tshuffle8", l.tshuffle8(a, b));
    put("tdot8", l.tdot8(c, a, b));
    // No byte is -128.
    let [w, x] = [l.tor(a, l.tsplat8(1)), l.tor(b, l.tsplat8(1))];
    put("tmul8_pairs_signed", l.tmul8_pairs_signed(w, x));
    let small = l.tmul16_sums(l.tshr16(a, [9; 4]), l.tshr16(b, [9; 4]));
    put("tpack16", l.tpack16(small, l.tsub32(l.tzero(), small)));
    put("tmul16_sums", l.tmul16_sums(a, b));
    let index: [u16; 32] = core::array::from_fn(|i| u16::from(bytes[2][i]) % 64);
    put("tpick16", l.tpick16(a, &index.map(|i| i % 32)));
    put("tpick16_2", l.tpick16_2(a, b, &index));
    let index: [u32; 16] = core::array::from_fn(|i| u32::from(index[i]) % 32);
    put("tpick32_2", l.tpick32_2(a, b, &index));
    let mut put = |name, v: W::G| {
        let mut to = vec![0.0; 16];
        l.gstore(v, &mut to);
        out.push((name, to.into_iter().map(f32::to_bits).collect()));
    };
    put("gtwice", l.gtwice(l.to_f32(l.tlow(a))));
    // Of F16 no NaN, which may change its bits on the way.
    let finite = |bytes: [u8; 2]| (u16::from_le_bytes(bytes) & 0xBFFF).to_le_bytes();
    let [p, q] = [finite([bytes[0][0], bytes[0][1]]), finite([bytes[0][2], bytes[0][3]])];
    put("ghalf", l.ghalf(&p));
    for v in l.gpair(&[p[0], p[1], q[0], q[1]]) {
        put("gpair", v);
    }
    let finite = l.tand(a, l.tbytes(bytemuck::cast_ref(&[0xBFFFu16; 32])));
    put("ghalves", l.ghalves(l.tlow(finite)));
}

#[test]
fn columns_and_wide_vectors_do_what_portable_ones_do() {
    let mut random = Random(4);
    for _ in 0..20 {
        let bytes = [random.bytes(), random.bytes(), random.bytes()];
        let mut expected = Vec::new();
        Portable.enter(Vectors { bytes, out: &mut expected });
        assert!(!expected.is_empty());
        all_isas(|isa, kernels| {
            let mut out = Vec::new();
            kernels.enter(Vectors { bytes, out: &mut out });
            // Columns come first. Without 64-byte vectors there is nothing else.
            for ((name, got), (of, expected)) in out.iter().zip(&expected) {
                assert_eq!((name, &got[..]), (of, &expected[..got.len()]), "{}", isa.name());
            }
            assert!(!out.is_empty(), "{}", isa.name());
        });
    }
}
