//! The lanes of every instruction set of this machine against the portable ones, operation by operation.

use super::{Columns, Kernel, Lanes, Portable};
use crate::isa::Isa;
use crate::matmul::{Activations, Kernels};
use alloc::vec::Vec;

/// Names and results: eight lanes of 32 bits each.
type Results = Vec<(&'static str, [u32; 8])>;

pub(super) struct Random(pub(super) u64);

impl Random {
    fn byte(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 56) as u8
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        core::array::from_fn(|_| self.byte())
    }

    /// A signed byte of ±`limit`.
    fn code(&mut self, limit: i32) -> i8 {
        (i32::from(self.byte() as i8) % (limit + 1)).max(-128) as i8
    }
}

pub(super) fn all_isas(mut f: impl FnMut(Isa, &Kernels)) {
    for isa in Isa::available() {
        f(isa, &Kernels::new(isa, Activations::Auto));
    }
}

fn signed(bytes: &[[u8; 32]; 3]) -> &[[i8; 32]; 3] {
    bytemuck::cast_ref(bytes)
}

/// Operations on 32 bytes and on eight floats.
struct Vectors<'a> {
    bytes: [[u8; 32]; 3],
    out: &'a mut Results,
}

impl Kernel for Vectors<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { bytes, out } = self;
        let [a, b, c] = bytes.map(|bytes| l.load(&bytes));
        let mut put = |name, v: L::V| {
            let mut to = [0; 8];
            l.store(v, &mut to);
            out.push((name, to));
        };
        let first = |bytes: &[u8; 32]| *bytes.first_chunk::<16>().unwrap();
        put("load2", l.load2(&first(&bytes[0]), &first(&bytes[1])));
        // Sixteen bytes from anywhere.
        let windows: [&[i8; 16]; 8] = [0, 5, 16, 31, 32, 40, 63, 80]
            .map(|at| signed(&bytes).as_flattened()[at..].first_chunk().unwrap());
        put("join4", l.join4(*windows.first_chunk().unwrap()));
        put("join8", l.join8(windows));
        put("splat8", l.splat8(-7));
        put("splat16", l.splat16(-777));
        put("splat32_halves", l.splat32_halves(0x1234_5678, 0x9ABC_DEF0));
        put("six_bits", l.six_bits(&first(&bytes[2])));
        put("and", l.and(a, b));
        put("or", l.or(a, b));
        for bits in 0..8 {
            put("shr16", l.shr16(a, bits));
            put("shl16", l.shl16(a, bits));
            put("shl32", l.shl32(a, bits));
        }
        put("sub8", l.sub8(a, b));
        put("add32", l.add32(a, b));
        put("sub32", l.sub32(a, b));
        put("eq8", l.eq8(l.and(a, l.splat8(3)), l.and(b, l.splat8(3))));
        put("negate8", l.negate8(b, l.eq8(l.and(a, l.splat8(1)), l.splat8(1))));
        put("shuffle8", l.shuffle8(a, b));
        put("mul16", l.mul16(a, b));
        put("mul16_pairs", l.mul16_pairs(a, b));
        // Activations are never -128.
        let x = l.or(b, l.and(l.eq8(b, l.splat8(-128)), l.splat8(1)));
        let (w, w1) = (l.and(a, l.splat8(63)), l.and(c, l.splat8(63)));
        put("mul8_pairs", l.mul8_pairs(w, x));
        put("mul8_pairs_signed", l.mul8_pairs_signed(a, x));
        put("dot2", l.dot2([w, w1], [x, l.halves_high(x, x)]));
        put("dot_signed", l.dot_signed(a, x));
        put("dot2_signed", l.dot2_signed([a, c], [x, l.halves_high(x, x)]));
        put("zip32_low", l.zip32_low(a, b));
        put("zip32_high", l.zip32_high(a, b));
        put("zip64_low", l.zip64_low(a, b));
        put("zip64_high", l.zip64_high(a, b));
        put("halves_low", l.halves_low(a, b));
        put("halves_low_high", l.halves_low_high(a, b));
        put("halves_high", l.halves_high(a, b));
        put("widen8", l.widen8(&first(&bytes[2])));
        for widened in l.widen_bytes(a) {
            put("widen_bytes", widened);
        }
        for s in 0..4 {
            for (signed, w) in [(false, w), (true, a)] {
                // Which lane of a half a product is added to is left open.
                let (mut to, scales) = ([0; 8], l.halves_low(c, c));
                l.store(l.add_scaled(signed, a, w, x, scales, s), &mut to);
                let halves = [0, 4].map(|at| to[at..at + 4].iter().fold(0u32, |a, b| a.wrapping_add(*b)));
                out.push(("add_scaled", [halves[0], halves[1], 0, 0, 0, 0, 0, 0]));
            }
        }
        let mut bytes_of = [0; 32];
        l.store_bytes(a, &mut bytes_of);
        out.push(("store_bytes", bytemuck::cast(bytes_of)));
        let mut put = |name, v: L::F| {
            let mut to = [0.0; 8];
            l.fstore(v, &mut to);
            out.push((name, to.map(f32::to_bits)));
        };
        put("to_f32", l.to_f32(a));
        put("f16_pair", {
            let [a, b] = l.f16_pair(&[0x34, 0x12, 0x78, 0x96]);
            l.fsplat_halves(a, b)
        });
        // Whole numbers, for which it does not matter what rounds when.
        let [x, y] = [a, b].map(|v| l.to_f32(l.and(v, l.splat32_halves(0x3FF, 0x1FF))));
        put("fsplat_halves", l.fsplat_halves(1.5, -2.0));
        put("fmul", l.fmul(x, y));
        put("ffma", l.ffma(x, y, l.fsplat(5.0)));
        // Of F16 no NaN, which may change its bits on the way.
        let halves: [u16; 8] = bytemuck::cast(first(&bytes[0]));
        let halves = halves.map(|bits| if bits & 0x7C00 == 0x7C00 { 0x7C00 } else { bits });
        put("fload_f16", l.fload_f16(&halves));
        // Of each sixteen bytes another half.
        let eight: [[u8; 16]; 8] = core::array::from_fn(|i| {
            let mut halves = halves;
            halves.rotate_left(3 * i % 8);
            bytemuck::cast(halves)
        });
        put("fload_f16_each", l.fload_f16_each(eight.each_ref()));
        put("fload_e8m0", l.fload_e8m0(bytes[1].first_chunk().unwrap()));
        put("fload_e8m0", l.fload_e8m0(&[0, 1, 2, 3, 128, 253, 254, 7]));
        let of_halves = halves.map(|bits| l.f16(bits).to_bits());
        out.push(("f16", of_halves));
        out.push(("fsum", [l.fsum(x).to_bits(); 8]));
    }
}

#[test]
fn vectors_do_what_portable_ones_do() {
    let mut random = Random(1);
    for _ in 0..20 {
        let bytes = [random.bytes(), random.bytes(), random.bytes()];
        let mut expected = Vec::new();
        Portable.enter(Vectors { bytes, out: &mut expected });
        all_isas(|isa, kernels| {
            let mut out = Vec::new();
            kernels.enter(Vectors { bytes, out: &mut out });
            assert_eq!(out.len(), expected.len());
            for (got, expected) in out.iter().zip(&expected) {
                assert_eq!(got, expected, "{}", isa.name());
            }
        });
    }
}

/// The first eight lanes of operations on the widest vectors.
struct Widest<'a> {
    words: [[u32; 16]; 4],
    bytes: [u8; 64],
    out: &'a mut Results,
}

impl Kernel for Widest<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { words, bytes, out } = self;
        let w = words.map(|words| l.tload(&words));
        let mut put = |name, v: L::G| {
            let mut to = [0.0; 16];
            l.gstore(v, &mut to);
            out.push((name, core::array::from_fn(|i| to[i].to_bits())));
        };
        let x: [u32; 4] = core::array::from_fn(|i| u32::from_le_bytes(bytes.as_chunks().0[i]));
        put("tload", l.to_g(w[0]));
        put("tmul16_pairs", l.to_g(l.tmul16_pairs(w[0], w[1], x[0])));
        // Only kernels for x86-64 use it.
        #[cfg(not(target_arch = "aarch64"))]
        put("tdot16", l.to_g(l.tdot16(128, l.tzero(), &w, &x)));
        let [a, b] = [l.gload_f8(&bytes), l.gload_f8(&bytes[16..])];
        put("gadd", l.gadd(a, b));
        put("gmul", l.gmul(a, b));
        // Products of codes with so few bits are exact.
        put("gfma", l.gfma(a, b, l.gsplat(0.0)));
        put("gfnma", l.gfnma(a, b, l.gsplat(0.0)));
        put("gload", l.gload(&words[0].map(|word| word as f32)));
        put("gload_f32", l.gload_f32(&bytes));
        put("gload_f16", l.gload_f16(&bytes));
        put("gload_bf16", l.gload_bf16(&bytes));
        out.push(("gsum", [(l.gsum(l.gsplat(3.0)) / L::LANES as f32).to_bits(); 8]));
    }
}

/// Equal, but that a NaN is a NaN.
fn same(a: u32, b: u32) -> bool {
    a == b || f32::from_bits(a).is_nan() && f32::from_bits(b).is_nan()
}

#[test]
fn widest_vectors_do_what_portable_ones_do() {
    let mut random = Random(2);
    for _ in 0..20 {
        let words = core::array::from_fn(|_| core::array::from_fn(|_| u32::from_le_bytes(random.bytes())));
        let bytes = random.bytes();
        let mut expected = Vec::new();
        Portable.enter(Widest { words, bytes, out: &mut expected });
        all_isas(|isa, kernels| {
            let mut out = Vec::new();
            kernels.enter(Widest { words, bytes, out: &mut out });
            for ((name, got), (_, expected)) in out.iter().zip(&expected) {
                let equal = got.iter().zip(expected).all(|(a, b)| same(*a, *b));
                assert!(equal, "{}, {name}: {got:X?}, not {expected:X?}", isa.name());
            }
        });
    }
}

/// Sums of products of codes with activations that had 128 added to them, as `narrow` computes them.
struct Codes<'a> {
    limit: i32,
    /// Eight outputs of up to eight words.
    codes: &'a [[[i8; 4]; 8]],
    x: &'a [i8],
    /// Word by word, and four at a time.
    out: &'a mut [[f32; 8]; 2],
}

impl Kernel for Codes<'_> {
    #[inline(always)]
    fn run<L: Columns>(self, l: L) {
        let Self { limit, codes, x, out } = self;
        let (width, mut all, mut panel) = (2 * L::LANES, [l.tzero(); 8], [0; 32 * 8]);
        for ((codes, all), panel) in codes.iter().zip(&mut all).zip(panel.chunks_exact_mut(width)) {
            *all = l.tload(&bytemuck::cast::<_, [u32; 16]>([*codes; 2]));
            panel.chunks_exact_mut(L::LANES).for_each(|to| l.tstore_codes(*all, to));
        }
        let start = l.tstart(limit, &all[..codes.len()]);
        let x: [u8; 32] = core::array::from_fn(|i| x.get(i).map_or(128, |x| *x as u8 ^ 0x80));
        let mut sums = [[start; 2]; 2];
        for (j, w) in panel.chunks_exact(width).take(codes.len()).enumerate() {
            let x = u32::from_ne_bytes(x.as_chunks().0[j]);
            sums[0][1] = l.tadd_bytes(limit, sums[0][1], l.tload(&w[L::LANES..]), x);
        }
        for (w, x) in panel.chunks_exact(4 * width).take(codes.len() / 4).zip(x.as_chunks().0) {
            let (mut both, x) = ([[sums[1][0], sums[1][1]]; 2], [x; 2]);
            l.tadd_four(limit, &mut both, w, &x);
            sums[1] = both[1];
        }
        for (sums, out) in sums.iter().zip(out) {
            let mut to = [0.0; 16];
            l.gstore(l.to_g(l.twhole_sums(limit, sums[1])), &mut to);
            out.copy_from_slice(&to[..8]);
        }
    }
}

#[test]
fn sums_of_codes_are_exact() {
    let mut random = Random(3);
    for (limit, n_words) in [(16, 8), (32, 4), (128, 8)] {
        for round in 0..20 {
            let mut codes = [[[0; 4]; 8]; 8];
            codes.as_flattened_mut().as_flattened_mut().iter_mut().for_each(|c| *c = random.code(limit));
            let mut x: [i8; 32] = core::array::from_fn(|_| random.code(127));
            if round == 0 {
                codes = [[[(-limit) as i8; 4]; 8]; 8];
                x = [-127; 32];
            }
            let (codes, x) = (&codes[..n_words], &x[..4 * n_words]);
            let expected: [f32; 8] = core::array::from_fn(|lane| {
                let codes = codes.iter().flat_map(|word| word[lane]);
                codes.zip(x).map(|(w, x)| i32::from(w) * i32::from(*x)).sum::<i32>() as f32
            });
            all_isas(|isa, kernels| {
                // Its sums of 16 bits do not hold products of such codes.
                if matches!(isa, Isa::Avx2(_)) && limit > 64 {
                    return;
                }
                let mut out = [[0.0; 8]; 2];
                kernels.enter(Codes { limit, codes, x, out: &mut out });
                assert_eq!(out, [expected; 2], "{}, limit {limit}", isa.name());
            });
        }
    }
}
