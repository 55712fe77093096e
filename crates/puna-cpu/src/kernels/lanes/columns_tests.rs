//! The operations that make columns and take them apart, for [`wide_tests`](super::wide_tests) to compare.

use super::Columns;
use super::wide_tests::Results;
use alloc::vec;

#[inline(always)]
pub(super) fn all<C: Columns>(l: C, bytes: &[[u8; 64]; 3], out: &mut Results) {
    let words = |bytes: &[u8; 64]| bytemuck::pod_read_unaligned::<[u32; 16]>(bytes);
    let [a, b] = [l.tload(&words(&bytes[0])), l.tload(&words(&bytes[1]))];
    let mut put = |name, v: C::T| {
        let mut to = vec![0; C::LANES];
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
    for four in 0..8 {
        put("tclear", l.tclear(a, four));
    }
    for v in l.twiden_bytes(a) {
        put("twiden_bytes", v);
    }
    let floats = |i: usize| l.to_g(l.tbyte(a, i));
    put(
        "tbf16_pairs",
        l.tbf16_pairs(l.gmul(floats(0), l.gsplat(0.37)), l.gmul(floats(3), l.gsplat(-1e3 / 3.0))),
    );
    put(
        "tbf16_pairs",
        l.tbf16_pairs(l.gsplat(f32::INFINITY), l.gone_nan(l.gsplat(f32::from_bits(0x7FFF_FFFF)))),
    );
    put("tlookup", l.tlookup(bytes[1].first_chunk().unwrap(), l.tand(a, l.tsplat8(15))));
    let mut put = |name, v: C::G| {
        let mut to = vec![0.0; C::LANES];
        l.gstore(v, &mut to);
        out.push((name, to.into_iter().map(f32::to_bits).collect()));
    };
    // No NaN, which may change its bits on the way.
    let finite = l.tand(a, l.tload(&[0xBFFF_BFFF; 16]));
    put("gwords", l.gwords(finite, false));
    put("gwords", l.gwords(finite, true));
}
