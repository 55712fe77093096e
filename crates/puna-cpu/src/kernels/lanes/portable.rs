//! Lanes of plain arrays: what every operation means, and the kernels of processors without one of our instruction sets.

use super::{Kernel, Lanes};
use half::{bf16, f16};
use puna_core::quant::{f8_e4m3, mxfp4};

/// The portable instruction set, 16 lanes wide as AVX-512 is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

type V = [u8; 32];
type F = [f32; 8];
type T = [i32; 16];
type G = [f32; 16];

fn map16(a: V, f: impl Fn(i16) -> i16) -> V {
    let mut out = [0; 32];
    for (out, a) in out.as_chunks_mut::<2>().0.iter_mut().zip(a.as_chunks::<2>().0) {
        *out = f(i16::from_le_bytes(*a)).to_le_bytes();
    }
    out
}

fn words(a: V) -> [i32; 8] {
    let mut out = [0; 8];
    for (out, a) in out.iter_mut().zip(a.as_chunks::<4>().0) {
        *out = i32::from_le_bytes(*a);
    }
    out
}

fn from_words(a: [i32; 8]) -> V {
    let mut out = [0; 32];
    for (out, a) in out.as_chunks_mut::<4>().0.iter_mut().zip(a) {
        *out = a.to_le_bytes();
    }
    out
}

fn zip_words(a: V, b: V, f: impl Fn(i32, i32) -> i32) -> V {
    let (a, b) = (words(a), words(b));
    from_words(core::array::from_fn(|i| f(a[i], b[i])))
}

fn zip_bytes(a: V, b: V, f: impl Fn(u8, u8) -> u8) -> V {
    core::array::from_fn(|i| f(a[i], b[i]))
}

/// Word `i` of the result is word `pick[i]` of `a` and `b` seen as one.
fn pick(a: V, b: V, pick: [usize; 8]) -> V {
    let (a, b) = (words(a), words(b));
    from_words(pick.map(|i| if i < 8 { a[i] } else { b[i - 8] }))
}

/// Sums of four products of bytes, each given as the integers they stand for.
fn dots(a: V, b: V, a_of: impl Fn(u8) -> i32, b_of: impl Fn(u8) -> i32) -> V {
    let mut out = [0; 8];
    for (i, out) in out.iter_mut().enumerate() {
        for j in 4 * i..4 * i + 4 {
            *out += a_of(a[j]) * b_of(b[j]);
        }
    }
    from_words(out)
}

fn signed(byte: u8) -> i32 {
    i32::from(byte as i8)
}

fn gload<const N: usize>(from: &[u8], f: impl Fn([u8; N]) -> f32) -> G {
    let mut out = [0.0; 16];
    for (out, from) in out.iter_mut().zip(from.as_chunks::<N>().0) {
        *out = f(*from);
    }
    out
}

/// Sums pairwise from the top down, as vector code does.
fn tree_sum<const N: usize>(mut a: [f32; N]) -> f32 {
    let mut n = N;
    while n > 1 {
        n /= 2;
        for i in 0..n {
            a[i] += a[i + n];
        }
    }
    a[0]
}

impl Lanes for Portable {
    type V = V;
    type F = F;
    type T = T;
    type G = G;
    type Wide = Self;
    const LANES: usize = 16;
    const WIDE: bool = true;
    // Where other lanes can be had, these are seldom used and slow to compile.
    const TOGETHER: usize = if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) { 1 } else { 4 };

    #[inline(always)]
    fn wide(self) -> Self {
        self
    }
    #[inline]
    fn enter(self, kernel: impl Kernel) {
        kernel.run(self);
    }

    #[inline]
    fn prefetch(self, _: &[u8], _: usize) {}
    #[inline]
    fn load(self, from: &[u8; 32]) -> V {
        *from
    }
    #[inline]
    fn store_bytes(self, a: V, to: &mut [i8; 32]) {
        *to = a.map(|byte| byte as i8);
    }
    #[inline]
    fn store(self, a: V, to: &mut [u32]) {
        to[..8].copy_from_slice(&words(a).map(|word| word as u32));
    }
    #[inline]
    fn load2(self, low: &[u8; 16], high: &[u8; 16]) -> V {
        core::array::from_fn(|i| if i < 16 { low[i] } else { high[i - 16] })
    }
    #[inline]
    fn join4(self, from: [&[i8; 16]; 4]) -> V {
        core::array::from_fn(|i| from[i / 8][i % 16] as u8)
    }
    #[inline]
    fn join8(self, from: [&[i8; 16]; 8]) -> V {
        core::array::from_fn(|i| from[i / 4][i % 16] as u8)
    }
    #[inline]
    fn splat8(self, value: i8) -> V {
        [value as u8; 32]
    }
    #[inline]
    fn splat16(self, value: i16) -> V {
        map16([0; 32], |_| value)
    }
    #[inline]
    fn and(self, a: V, b: V) -> V {
        zip_bytes(a, b, |a, b| a & b)
    }
    #[inline]
    fn or(self, a: V, b: V) -> V {
        zip_bytes(a, b, |a, b| a | b)
    }
    #[inline]
    fn splat32_halves(self, low: u32, high: u32) -> V {
        from_words(core::array::from_fn(|i| if i < 4 { low } else { high } as i32))
    }
    #[inline]
    fn shr16(self, a: V, bits: usize) -> V {
        map16(a, |a| ((a as u16) >> bits) as i16)
    }
    #[inline]
    fn shl16(self, a: V, bits: usize) -> V {
        map16(a, |a| a << bits)
    }
    #[inline]
    fn shl32(self, a: V, bits: usize) -> V {
        zip_words(a, a, |a, _| a << bits)
    }
    #[inline]
    fn sub8(self, a: V, b: V) -> V {
        zip_bytes(a, b, u8::wrapping_sub)
    }
    #[inline]
    fn add32(self, a: V, b: V) -> V {
        zip_words(a, b, i32::wrapping_add)
    }
    #[inline]
    fn sub32(self, a: V, b: V) -> V {
        zip_words(a, b, i32::wrapping_sub)
    }
    #[inline]
    fn eq8(self, a: V, b: V) -> V {
        zip_bytes(a, b, |a, b| if a == b { 0xFF } else { 0 })
    }
    #[inline]
    fn negate8(self, a: V, minus: V) -> V {
        zip_bytes(a, minus, |a, minus| if minus == 0 { a } else { a.wrapping_neg() })
    }
    #[inline]
    fn shuffle8(self, table: V, index: V) -> V {
        core::array::from_fn(|i| match index[i] {
            at if at >= 128 => 0,
            at => table[(i & 16) + usize::from(at & 15)],
        })
    }
    #[inline]
    fn mul16(self, a: V, b: V) -> V {
        let (a, b) = (words(a), words(b));
        let product = |a: i32, b: i32| (a.wrapping_mul(b) & 0xFFFF) | (a >> 16).wrapping_mul(b >> 16) << 16;
        from_words(core::array::from_fn(|i| product(a[i], b[i])))
    }
    #[inline]
    fn mul16_pairs(self, a: V, b: V) -> V {
        let (a, b) = (words(a), words(b));
        let products =
            |a: i32, b: i32| (a as i16 as i32 * b as i16 as i32).wrapping_add((a >> 16) * (b >> 16));
        from_words(core::array::from_fn(|i| products(a[i], b[i])))
    }
    #[inline]
    fn mul8_pairs(self, unsigned: V, bytes: V) -> V {
        let product = |i: usize| i16::from(unsigned[i]).wrapping_mul(i16::from(bytes[i] as i8));
        let mut out = [0; 32];
        for (i, out) in out.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            *out = product(2 * i).saturating_add(product(2 * i + 1)).to_le_bytes();
        }
        out
    }
    #[inline]
    fn dot2(self, w: [V; 2], x: [V; 2]) -> V {
        self.add32(dots(w[0], x[0], i32::from, signed), dots(w[1], x[1], i32::from, signed))
    }
    #[inline]
    fn dot_signed(self, w: V, x: V) -> V {
        dots(w, x, signed, signed)
    }
    #[inline]
    fn mul8_pairs_signed(self, w: V, x: V) -> V {
        let product = |i: usize| i16::from(w[i] as i8) * i16::from(x[i] as i8);
        let mut out = [0; 32];
        for (i, out) in out.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            *out = product(2 * i).saturating_add(product(2 * i + 1)).to_le_bytes();
        }
        out
    }
    #[inline]
    fn zip32_low(self, a: V, b: V) -> V {
        pick(a, b, [0, 8, 1, 9, 4, 12, 5, 13])
    }
    #[inline]
    fn zip32_high(self, a: V, b: V) -> V {
        pick(a, b, [2, 10, 3, 11, 6, 14, 7, 15])
    }
    #[inline]
    fn zip64_low(self, a: V, b: V) -> V {
        pick(a, b, [0, 1, 8, 9, 4, 5, 12, 13])
    }
    #[inline]
    fn zip64_high(self, a: V, b: V) -> V {
        pick(a, b, [2, 3, 10, 11, 6, 7, 14, 15])
    }
    #[inline]
    fn halves_low(self, a: V, b: V) -> V {
        pick(a, b, [0, 1, 2, 3, 8, 9, 10, 11])
    }
    #[inline]
    fn halves_low_high(self, a: V, b: V) -> V {
        pick(a, b, [0, 1, 2, 3, 12, 13, 14, 15])
    }
    #[inline]
    fn halves_high(self, a: V, b: V) -> V {
        pick(a, b, [4, 5, 6, 7, 12, 13, 14, 15])
    }
    #[inline]
    fn widen8(self, from: &[u8; 16]) -> V {
        let mut out = [0; 32];
        for (out, from) in out.as_chunks_mut::<2>().0.iter_mut().zip(from) {
            *out = i16::from(*from as i8).to_le_bytes();
        }
        out
    }
    #[inline]
    fn widen_bytes(self, a: V) -> [V; 2] {
        let every_other = |first: usize| {
            let mut out = [0; 32];
            for (out, from) in out.as_chunks_mut::<2>().0.iter_mut().zip(a[first..].iter().step_by(2)) {
                *out = i16::from(*from as i8).to_le_bytes();
            }
            out
        };
        [every_other(0), every_other(1)]
    }
    #[inline]
    fn to_f32(self, a: V) -> F {
        words(a).map(|a| a as f32)
    }

    #[inline]
    fn f16(self, bits: u16) -> f32 {
        f16::from_bits(bits).to_f32()
    }
    #[inline]
    fn fload(self, from: &[f32; 8]) -> F {
        *from
    }
    #[inline]
    fn fstore(self, a: F, to: &mut [f32; 8]) {
        *to = a;
    }
    #[inline]
    fn fload_f16(self, from: &[u16; 8]) -> F {
        from.map(|bits| f16::from_bits(bits).to_f32())
    }
    #[inline]
    fn fload_e8m0(self, from: &[u8; 8]) -> F {
        from.map(mxfp4::half_scale)
    }
    #[inline]
    fn fsplat(self, value: f32) -> F {
        [value; 8]
    }
    #[inline]
    fn fsplat_halves(self, low: f32, high: f32) -> F {
        core::array::from_fn(|i| if i < 4 { low } else { high })
    }
    #[inline]
    fn fmul(self, a: F, b: F) -> F {
        core::array::from_fn(|i| a[i] * b[i])
    }
    #[inline]
    fn ffma(self, a: F, b: F, c: F) -> F {
        core::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline]
    fn fsum(self, a: F) -> f32 {
        tree_sum(a)
    }

    #[inline]
    fn tload(self, from: &[u32]) -> T {
        core::array::from_fn(|i| from[i] as i32)
    }
    #[inline]
    fn tzero(self) -> T {
        [0; 16]
    }
    #[inline]
    fn tadd_bytes(self, _: i32, acc: T, w: T, x: u32) -> T {
        let x = x.to_le_bytes().map(i32::from);
        core::array::from_fn(|i| {
            let w = w[i].to_le_bytes().map(signed);
            acc[i].wrapping_add(w[0] * x[0] + w[1] * x[1] + w[2] * x[2] + w[3] * x[3])
        })
    }
    #[inline]
    fn twhole_sums(self, _: i32, a: T) -> T {
        a
    }
    #[inline]
    fn tmul16_pairs(self, acc: T, w: T, x: u32) -> T {
        let halves = |v: i32| [v as i16, (v >> 16) as i16].map(i32::from);
        let x = halves(x.cast_signed());
        core::array::from_fn(|i| {
            let w = halves(w[i]);
            acc[i].wrapping_add((w[0] * x[0]).wrapping_add(w[1] * x[1]))
        })
    }
    #[inline]
    fn to_g(self, a: T) -> G {
        a.map(|a| a as f32)
    }

    #[inline]
    fn gload(self, from: &[f32]) -> G {
        core::array::from_fn(|i| from[i])
    }
    #[inline]
    fn gstore(self, a: G, to: &mut [f32]) {
        to[..16].copy_from_slice(&a);
    }
    #[inline]
    fn gsplat(self, value: f32) -> G {
        [value; 16]
    }
    #[inline]
    fn gadd(self, a: G, b: G) -> G {
        core::array::from_fn(|i| a[i] + b[i])
    }
    #[inline]
    fn gmul(self, a: G, b: G) -> G {
        core::array::from_fn(|i| a[i] * b[i])
    }
    #[inline]
    fn gfma(self, a: G, b: G, c: G) -> G {
        core::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline]
    fn gfnma(self, a: G, b: G, c: G) -> G {
        core::array::from_fn(|i| c[i] - a[i] * b[i])
    }
    #[inline]
    fn gsum(self, a: G) -> f32 {
        tree_sum(a)
    }
    #[inline]
    fn gload_f32(self, from: &[u8]) -> G {
        gload(from, f32::from_le_bytes)
    }
    #[inline]
    fn gload_f16(self, from: &[u8]) -> G {
        gload(from, |bytes| f16::from_le_bytes(bytes).to_f32())
    }
    #[inline]
    fn gload_bf16(self, from: &[u8]) -> G {
        gload(from, |bytes| bf16::from_le_bytes(bytes).to_f32())
    }
    #[inline]
    fn gload_f8(self, from: &[u8]) -> G {
        gload(from, |[byte]| f8_e4m3::decode(byte))
    }
}
