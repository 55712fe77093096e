//! The columns of every instruction set that makes them against the portable ones, operation by operation.

use super::tests::{Random, all_isas};
use super::{Columns, Kernel, Lanes, Portable};
use alloc::vec::Vec;

/// Names and results: as many lanes as there are, and zeros.
type Results = Vec<(&'static str, [u32; 16])>;

struct Vectors<'a> {
    bytes: [[u8; 64]; 3],
    out: &'a mut Results,
}

impl Kernel for Vectors<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        if const { L::COLUMNS } {
            all::<L::Columns>(l.columns(), &self.bytes, self.out);
        }
    }
}

#[inline(always)]
fn all<C: Columns>(l: C, bytes: &[[u8; 64]; 3], out: &mut Results) {
    let words = |bytes: &[u8; 64]| bytemuck::pod_read_unaligned::<[u32; 16]>(bytes);
    let [a, b, c] = [l.tload(&words(&bytes[0])), l.tload(&words(&bytes[1])), l.tload(&words(&bytes[2]))];
    let mut put = |name, v: C::T| {
        let mut to = [0; 16];
        l.tstore(v, &mut to);
        out.push((name, to));
    };
    let rows = core::array::from_fn(|i| bytes[i % 3][i..].first_chunk().unwrap());
    for column in l.tcolumns(rows) {
        put("tcolumns", column);
    }
    put("tsplat8", l.tsplat8(-7));
    put("tand", l.tand(a, b));
    put("tor", l.tor(a, b));
    for bits in [0, 1, 4, 6] {
        put("tdown", l.tdown(a, bits));
        put("tup", l.tup(a, bits));
    }
    put("tsub8", l.tsub8(a, b));
    for i in 0..4 {
        put("tbyte", l.tbyte(a, i));
    }
    for v in l.twiden_bytes(a) {
        put("twiden_bytes", v);
    }
    put("tlookup", l.tlookup(bytes[1].first_chunk().unwrap(), l.tand(a, l.tsplat8(15))));
    // Codes up to 16.
    let codes = l.tsub8(l.tand(c, l.tsplat8(31)), l.tsplat8(16));
    let sums = l.tadd_bytes(16, l.tzero(), codes, 0x8080_8080);
    put("tminus", l.twhole_sums(16, l.tminus(sums)));
    let mut put = |name, v: C::G| {
        let mut to = [0.0; 16];
        l.gstore(v, &mut to);
        out.push((name, to.map(f32::to_bits)));
    };
    // No NaN, which may change its bits on the way.
    let finite = l.tand(a, l.tload(&[0xBFFF_BFFF; 16]));
    put("gwords", l.gwords(finite, false));
    put("gwords", l.gwords(finite, true));
}

#[test]
fn columns_do_what_portable_ones_do() {
    let mut random = Random(5);
    for _ in 0..20 {
        let bytes = [random.bytes(), random.bytes(), random.bytes()];
        let mut expected = Vec::new();
        Portable.enter(Vectors { bytes, out: &mut expected });
        assert!(!expected.is_empty());
        all_isas(|isa, kernels| {
            let mut out = Vec::new();
            kernels.enter(Vectors { bytes, out: &mut out });
            for ((name, got), (_, expected)) in out.iter().zip(&expected) {
                // Of fewer lanes, zeros take the place of the others.
                let n = if got[8..] == [0; 8] { 8 } else { 16 };
                assert_eq!(got[..n], expected[..n], "{}, {name}", isa.name());
            }
        });
    }
}
