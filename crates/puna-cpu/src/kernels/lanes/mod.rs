//! The vector operations that kernels are written in: one trait, one implementation for each instruction set.
//!
//! A kernel is an `#[inline(always)]` function generic over [`Lanes`]; [`Lanes::enter`] compiles it with the
//! instruction set's features on. [`Portable`] gives every operation its meaning in plain Rust and is the twin of the
//! AVX-512 lanes: same widths, same order of sums. It runs on any processor, so a machine without AVX-512 still tests
//! the AVX-512 kernels' logic.

/// Methods that are the same with the instruction set that an extension is of, whose lanes are field 0.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! as_base {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $type),*) -> $out {
            self.0.$name($($arg),*)
        }
    )*};
}

/// The methods of 32-byte vectors and of floats by eight, but for dot products.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! vectors_as_base {
    () => {
        as_base! {
            prefetch(from: &[u8], ahead: usize) -> ();
            load(from: &[u8; 32]) -> Self::V;
            store_bytes(a: Self::V, to: &mut [i8; 32]) -> ();
            store(a: Self::V, to: &mut [u32]) -> ();
            load2(low: &[u8; 16], high: &[u8; 16]) -> Self::V;
            join4(from: [&[i8; 16]; 4]) -> Self::V;
            join8(from: [&[i8; 16]; 8]) -> Self::V;
            splat8(value: i8) -> Self::V;
            splat16(value: i16) -> Self::V;
            splat32_halves(low: u32, high: u32) -> Self::V;
            and(a: Self::V, b: Self::V) -> Self::V;
            or(a: Self::V, b: Self::V) -> Self::V;
            shr16(a: Self::V, bits: usize) -> Self::V;
            shl16(a: Self::V, bits: usize) -> Self::V;
            shl32(a: Self::V, bits: usize) -> Self::V;
            sub8(a: Self::V, b: Self::V) -> Self::V;
            add32(a: Self::V, b: Self::V) -> Self::V;
            sub32(a: Self::V, b: Self::V) -> Self::V;
            eq8(a: Self::V, b: Self::V) -> Self::V;
            negate8(a: Self::V, minus: Self::V) -> Self::V;
            shuffle8(table: Self::V, index: Self::V) -> Self::V;
            mul16(a: Self::V, b: Self::V) -> Self::V;
            mul16_pairs(a: Self::V, b: Self::V) -> Self::V;
            mul8_pairs(unsigned: Self::V, signed: Self::V) -> Self::V;
            mul8_pairs_signed(w: Self::V, x: Self::V) -> Self::V;
            zip32_low(a: Self::V, b: Self::V) -> Self::V;
            zip32_high(a: Self::V, b: Self::V) -> Self::V;
            zip64_low(a: Self::V, b: Self::V) -> Self::V;
            zip64_high(a: Self::V, b: Self::V) -> Self::V;
            halves_low(a: Self::V, b: Self::V) -> Self::V;
            halves_low_high(a: Self::V, b: Self::V) -> Self::V;
            halves_high(a: Self::V, b: Self::V) -> Self::V;
            widen8(from: &[u8; 16]) -> Self::V;
            widen_bytes(a: Self::V) -> [Self::V; 2];
            to_f32(a: Self::V) -> Self::F;
            six_bits(from: &[u8; 16]) -> Self::V;
            f16(bits: u16) -> f32;
            f16_pair(from: &[u8; 4]) -> [f32; 2];
            fload(from: &[f32; 8]) -> Self::F;
            fstore(a: Self::F, to: &mut [f32; 8]) -> ();
            fload_f16(from: &[u16; 8]) -> Self::F;
            fload_f16_each(from: [&[u8; 16]; 8]) -> Self::F;
            fload_e8m0(from: &[u8; 8]) -> Self::F;
            fsplat(value: f32) -> Self::F;
            fsplat_halves(low: f32, high: f32) -> Self::F;
            fmul(a: Self::F, b: Self::F) -> Self::F;
            ffma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
            fsum(a: Self::F) -> f32;
        }
    };
}

/// The methods of the widest vectors, but for dot products, where those are no wider.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! wide_vectors_as_base {
    () => {
        as_base! {
            tload(from: &[u32]) -> Self::T;
            tzero() -> Self::T;
            tmul16_pairs(acc: Self::T, w: Self::T, x: u32) -> Self::T;
            to_g(a: Self::T) -> Self::G;
            gload(from: &[f32]) -> Self::G;
            gstore(a: Self::G, to: &mut [f32]) -> ();
            gsplat(value: f32) -> Self::G;
            gadd(a: Self::G, b: Self::G) -> Self::G;
            gmul(a: Self::G, b: Self::G) -> Self::G;
            gfma(a: Self::G, b: Self::G, c: Self::G) -> Self::G;
            gfnma(a: Self::G, b: Self::G, c: Self::G) -> Self::G;
            gsum(a: Self::G) -> f32;
            gload_f32(from: &[u8]) -> Self::G;
            gload_f16(from: &[u8]) -> Self::G;
            gload_bf16(from: &[u8]) -> Self::G;
            gload_f8(from: &[u8]) -> Self::G;
        }
    };
}

/// What makes columns and takes them apart where the widest vectors are those of 32 bytes.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! columns_as_vectors {
    () => {
        #[inline(always)]
        fn tcolumns(self, rows: [&[u8; 16]; ROWS]) -> [Self::T; 4] {
            // Every fourth row in the halves of a vector, so that lanes are in order after they have changed places within
            // halves.
            let half = |i: usize| self.load2(rows[i], rows[4 + i]);
            let (a, b, c, d) = (half(0), half(1), half(2), half(3));
            let (low, high) = (self.zip32_low(a, b), self.zip32_low(c, d));
            let (low2, high2) = (self.zip32_high(a, b), self.zip32_high(c, d));
            [
                self.zip64_low(low, high),
                self.zip64_high(low, high),
                self.zip64_low(low2, high2),
                self.zip64_high(low2, high2),
            ]
        }
        #[inline(always)]
        fn tstore(self, a: Self::T, to: &mut [u32]) {
            self.store(a, to);
        }
        #[inline(always)]
        fn tsplat8(self, value: i8) -> Self::T {
            self.splat8(value)
        }
        #[inline(always)]
        fn tand(self, a: Self::T, b: Self::T) -> Self::T {
            self.and(a, b)
        }
        #[inline(always)]
        fn tor(self, a: Self::T, b: Self::T) -> Self::T {
            self.or(a, b)
        }
        #[inline(always)]
        fn tdown(self, a: Self::T, bits: usize) -> Self::T {
            self.shr16(a, bits)
        }
        #[inline(always)]
        fn tup(self, a: Self::T, bits: usize) -> Self::T {
            self.shl16(a, bits)
        }
        #[inline(always)]
        fn tsub8(self, a: Self::T, b: Self::T) -> Self::T {
            self.sub8(a, b)
        }
        #[inline(always)]
        fn tclear(self, a: Self::T, four: usize) -> Self::T {
            let [bytes, bits] = &FOUR_BITS[four % 8];
            let set = self.and(self.shuffle8(a, self.load2(bytes, bytes)), self.load2(bits, bits));
            self.eq8(set, self.splat8(0))
        }
        #[inline(always)]
        fn twiden_bytes(self, a: Self::T) -> [Self::T; 2] {
            self.widen_bytes(a)
        }
        #[inline(always)]
        fn tlookup(self, table: &[u8; 16], index: Self::T) -> Self::T {
            self.shuffle8(self.load2(table, table), index)
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_columns;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_wide;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
pub(crate) mod columns;
#[cfg(test)]
mod columns_tests;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod neon;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod neon_columns;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod neon_dot;
mod portable;
mod portable_wide;
#[cfg(test)]
mod tests;
mod wide;
#[cfg(test)]
mod wide_tests;

pub(crate) use columns::Columns;
pub(crate) use portable::Portable;
pub(crate) use wide::Wide;

/// For each `s` of [`Lanes::add_scaled`]: the bytes of the 16-bit lane of that half, in all lanes.
const SELECT: [[u8; 32]; 4] = {
    let mut select = [[0; 32]; 4];
    let mut i = 0;
    while i < 4 * 32 {
        let (s, at) = (i / 32, i % 32);
        select[s][at] = (2 * (2 * s + at / 16) + at % 2) as u8;
        i += 1;
    }
    select
};

/// A computation to be compiled for an instruction set. `run` must be `#[inline(always)]`, and so must all that it
/// calls with vectors as arguments.
pub(crate) trait Kernel {
    fn run<L: Columns>(self, lanes: L);
}

/// An instruction set. A value of the type proves that the processor has it.
///
/// `V` holds 32 bytes, seen as 32 x 8, 16 x 16 or 8 x 32 bits; `F` 8 floats. `T` and `G` are the widest vectors of
/// [`LANES`](Lanes::LANES) 32-bit integers and floats. Integer sums wrap. `fma` rounds once, except in portable code
/// where that would be slow.
pub(crate) trait Lanes: Copy {
    type V: Copy;
    type F: Copy;
    type T: Copy;
    type G: Copy;
    /// 32-bit lanes of `T` and `G`: 8 or 16.
    const LANES: usize;
    /// Rows of activations that are worth a loop of their own with weights unpacked once for them.
    const TOGETHER: usize = 4;
    /// How far ahead of the weights that are multiplied others are asked for, in bytes. The processor's own prefetching ends
    /// at every page. One thread of a Zen 3 that reads 20 GB/s, decode in GB/s of weights, without and with 1 and 3 KiB:
    /// Q4_0 13.0, 15.1, 15.7; Q8_0 14.5, 16.3, 16.3; Q4_K 12.7, 13.4, 13.9; Q6_K 14.5, 15.6, 17.2.
    const AHEAD: usize = 3072;
    /// Whether loops over the steps of a block must be unrolled by hand, because lanes and shifts are parts of instructions
    /// and the compiler, which does not see what that saves, leaves them as they are.
    const UNROLL: bool = false;
    /// Whether there are 64-byte vectors, which are [`T`](Self::T) then.
    const WIDE: bool = false;
    /// This instruction set, or any other where there are none.
    type Wide: Wide;

    /// The lanes with 64-byte vectors.
    fn wide(self) -> Self::Wide;

    /// Runs the kernel with the features of the instruction set enabled.
    fn enter(self, kernel: impl Kernel);

    /// Asks for the cache line `ahead` bytes behind the start of `from`, wherever that is.
    fn prefetch(self, from: &[u8], ahead: usize);

    // 32-byte integers.
    fn load(self, from: &[u8; 32]) -> Self::V;
    fn store_bytes(self, a: Self::V, to: &mut [i8; 32]);
    /// Stores eight 32-bit lanes at the start of `to`.
    fn store(self, a: Self::V, to: &mut [u32]);
    /// Two halves, the first one low.
    fn load2(self, low: &[u8; 16], high: &[u8; 16]) -> Self::V;
    /// In turns the first and the last 8 bytes.
    fn join4(self, from: [&[i8; 16]; 4]) -> Self::V;
    /// In turns the first 4 bytes, the next, and so on.
    fn join8(self, from: [&[i8; 16]; 8]) -> Self::V;
    fn splat8(self, value: i8) -> Self::V;
    fn splat16(self, value: i16) -> Self::V;
    /// One value in the 32-bit lanes of each half.
    fn splat32_halves(self, low: u32, high: u32) -> Self::V;
    fn and(self, a: Self::V, b: Self::V) -> Self::V;
    fn or(self, a: Self::V, b: Self::V) -> Self::V;
    /// Shifts 16-bit lanes right, zeros coming in. The count should be a constant once loops are unrolled.
    fn shr16(self, a: Self::V, bits: usize) -> Self::V;
    fn shl16(self, a: Self::V, bits: usize) -> Self::V;
    fn shl32(self, a: Self::V, bits: usize) -> Self::V;
    fn sub8(self, a: Self::V, b: Self::V) -> Self::V;
    fn add32(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub32(self, a: Self::V, b: Self::V) -> Self::V;
    fn eq8(self, a: Self::V, b: Self::V) -> Self::V;
    /// Negates the bytes that meet bytes of ones; the others meet zeros.
    fn negate8(self, a: Self::V, minus: Self::V) -> Self::V;
    /// In each 16-byte half: byte `i` is `table[index[i] % 16]`, or 0 where `index[i]` has its top bit set.
    fn shuffle8(self, table: Self::V, index: Self::V) -> Self::V;
    /// The low 16 bits of products of 16-bit lanes.
    fn mul16(self, a: Self::V, b: Self::V) -> Self::V;
    /// Products of signed 16-bit lanes, neighbours summed to 32 bits.
    fn mul16_pairs(self, a: Self::V, b: Self::V) -> Self::V;
    /// Products of unsigned bytes up to 127 by signed bytes, neighbours summed to 16 bits, which must not overflow.
    fn mul8_pairs(self, unsigned: Self::V, signed: Self::V) -> Self::V;
    /// Each 32-bit lane: the sum of four products in `w[0]` and `x[0]` and four in `w[1]` and `x[1]`, unsigned bytes up
    /// to 63 by signed bytes of ±127.
    fn dot2(self, w: [Self::V; 2], x: [Self::V; 2]) -> Self::V;
    /// Each 32-bit lane: the sum of four products of signed bytes of any size by signed bytes of ±127.
    fn dot_signed(self, w: Self::V, x: Self::V) -> Self::V;
    /// As `dot2` for signed bytes of any size by signed bytes of ±127.
    #[inline(always)]
    fn dot2_signed(self, w: [Self::V; 2], x: [Self::V; 2]) -> Self::V {
        self.add32(self.dot_signed(w[0], x[0]), self.dot_signed(w[1], x[1]))
    }
    /// As `mul8_pairs` for signed bytes of any size by signed bytes of ±127.
    fn mul8_pairs_signed(self, w: Self::V, x: Self::V) -> Self::V;
    /// `acc` plus the products of bytes of `w`, of any size if `signed`, else unsigned up to 63, by signed bytes of ±127,
    /// those of each half times a 16-bit lane of `scales` and summed to any of its 32-bit lanes. The halves of `scales` are
    /// equal. Lane `2 * s` of one belongs to the low half of `w`, the next to the high half, for an `s` below 4.
    #[inline(always)]
    fn add_scaled(
        self,
        signed: bool,
        acc: Self::V,
        w: Self::V,
        x: Self::V,
        scales: Self::V,
        s: usize,
    ) -> Self::V {
        let pairs = if signed { self.mul8_pairs_signed(w, x) } else { self.mul8_pairs(w, x) };
        let scale = self.shuffle8(scales, self.load(&SELECT[s]));
        self.add32(acc, self.mul16_pairs(pairs, scale))
    }
    /// `[a0, b0, a1, b1]` of each half.
    fn zip32_low(self, a: Self::V, b: Self::V) -> Self::V;
    /// `[a2, b2, a3, b3]` of each half.
    fn zip32_high(self, a: Self::V, b: Self::V) -> Self::V;
    fn zip64_low(self, a: Self::V, b: Self::V) -> Self::V;
    fn zip64_high(self, a: Self::V, b: Self::V) -> Self::V;
    /// `[a low half, b low half]`.
    fn halves_low(self, a: Self::V, b: Self::V) -> Self::V;
    /// `[a low half, b high half]`.
    fn halves_low_high(self, a: Self::V, b: Self::V) -> Self::V;
    /// `[a high half, b high half]`.
    fn halves_high(self, a: Self::V, b: Self::V) -> Self::V;
    /// Signed bytes widened to 16 bits.
    fn widen8(self, from: &[u8; 16]) -> Self::V;
    /// The signed bytes 0 and 2 of each 32-bit lane widened to 16 bits, then the bytes 1 and 3.
    fn widen_bytes(self, a: Self::V) -> [Self::V; 2];
    fn to_f32(self, a: Self::V) -> Self::F;
    /// Of the first 16 bytes of a block of Q4_K or Q5_K: its eight scales as 16-bit lanes, then its minima.
    #[inline(always)]
    fn six_bits(self, from: &[u8; 16]) -> Self::V {
        let [_, a, b, c]: [[u8; 4]; 4] = bytemuck::cast(*from);
        let [a, b, c] = [a, b, c].map(u32::from_le_bytes);
        let bytes = [
            a & 0x3F3F_3F3F,
            c & 0x0F0F_0F0F | a >> 2 & 0x3030_3030,
            b & 0x3F3F_3F3F,
            c >> 4 & 0x0F0F_0F0F | b >> 2 & 0x3030_3030,
        ];
        self.widen8(bytemuck::cast_ref(&bytes.map(u32::to_le)))
    }

    // Floats, alone and by 8.
    /// The f16 of these bits.
    fn f16(self, bits: u16) -> f32;
    /// Two f16.
    #[inline(always)]
    fn f16_pair(self, from: &[u8; 4]) -> [f32; 2] {
        let [a, b]: [[u8; 2]; 2] = bytemuck::cast(*from);
        [self.f16(u16::from_le_bytes(a)), self.f16(u16::from_le_bytes(b))]
    }
    fn fload(self, from: &[f32; 8]) -> Self::F;
    fn fstore(self, a: Self::F, to: &mut [f32; 8]);
    /// 8 halves, widened.
    fn fload_f16(self, from: &[u16; 8]) -> Self::F;
    /// 8 halves, widened: half `i` of the `i`th 16 bytes.
    #[inline(always)]
    fn fload_f16_each(self, from: [&[u8; 16]; 8]) -> Self::F {
        let mut halves = [0; 8];
        for (i, (half, from)) in halves.iter_mut().zip(from).enumerate() {
            *half = u16::from_le_bytes(from.as_chunks().0[i]);
        }
        self.fload_f16(&halves)
    }
    /// `2^(exponent - 128)`, as MXFP4 scales its doubled values.
    fn fload_e8m0(self, from: &[u8; 8]) -> Self::F;
    fn fsplat(self, value: f32) -> Self::F;
    /// One value in the lanes of each half.
    fn fsplat_halves(self, low: f32, high: f32) -> Self::F;
    fn fmul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`.
    fn ffma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    fn fsum(self, a: Self::F) -> f32;

    // The widest vectors. Slices hold at least `LANES` values.
    fn tload(self, from: &[u32]) -> Self::T;
    fn tzero(self) -> Self::T;
    /// `acc` plus, in each lane, the sum of 16 products of the signed bytes of `w` by the unsigned bytes of `x`, which
    /// all lanes share. No byte of `w` exceeds `±limit`, a constant.
    /// Only kernels for AVX2 use it.
    #[inline(always)]
    fn tdot16(self, limit: i32, acc: Self::T, w: &[Self::T; 4], x: &[u32; 4]) -> Self::T {
        let mut acc = acc;
        for (w, x) in w.iter().zip(x) {
            acc = self.tadd_bytes(limit, acc, *w, *x);
        }
        acc
    }
    /// `acc` plus the products of four signed bytes in each lane of `w`, which [`Columns::tstore_codes`] stored, by the bytes
    /// of `x`, which all lanes share. These are 128 more than the activations that they stand for. Where it is sooner done,
    /// the 128 is taken off first; else `x` is multiplied as it is, see [`Columns::tstart`].
    ///
    /// No byte of `w` exceeds `±limit`, a constant. Where the instruction set has nothing better, a lane holds two sums of
    /// 16 bits, of the products of two bytes each: with AVX2 always, and bytes of `w` must not exceed ±64, with NEON up to
    /// a limit of 32.
    fn tadd_bytes(self, limit: i32, acc: Self::T, w: Self::T, x: u32) -> Self::T;
    /// Whether `tadd_four` is better than `tadd_bytes`.
    const FOUR_WORDS: bool = false;
    /// `tadd_bytes` of four words, of two vectors of weights each, `w`, and of `N` rows of activations.
    #[inline(always)]
    fn tadd_four<const N: usize>(
        self,
        limit: i32,
        sums: &mut [[Self::T; 2]; N],
        w: &[u32],
        x: &[&[u8; 16]; N],
    ) {
        for (i, w) in w.chunks_exact(2 * Self::LANES).take(4).enumerate() {
            for (sums, x) in sums.iter_mut().zip(x) {
                let x = u32::from_ne_bytes(x.as_chunks().0[i]);
                sums[0] = self.tadd_bytes(limit, sums[0], self.tload(w), x);
                sums[1] = self.tadd_bytes(limit, sums[1], self.tload(&w[Self::LANES..]), x);
            }
        }
    }
    /// What the lanes of `tadd_bytes` amount to.
    fn twhole_sums(self, limit: i32, a: Self::T) -> Self::T;
    /// `acc` plus, in each lane, the sum of two products of signed 16-bit values; all lanes share those of `x`.
    fn tmul16_pairs(self, acc: Self::T, w: Self::T, x: u32) -> Self::T;
    fn to_g(self, a: Self::T) -> Self::G;

    fn gload(self, from: &[f32]) -> Self::G;
    fn gstore(self, a: Self::G, to: &mut [f32]);
    fn gsplat(self, value: f32) -> Self::G;
    fn gadd(self, a: Self::G, b: Self::G) -> Self::G;
    fn gmul(self, a: Self::G, b: Self::G) -> Self::G;
    /// `a * b + c`.
    fn gfma(self, a: Self::G, b: Self::G, c: Self::G) -> Self::G;
    /// `c - a * b`.
    fn gfnma(self, a: Self::G, b: Self::G, c: Self::G) -> Self::G;
    fn gsum(self, a: Self::G) -> f32;
    /// Little-endian F32, unaligned: at least `4 * LANES` bytes.
    fn gload_f32(self, from: &[u8]) -> Self::G;
    /// F16, widened.
    fn gload_f16(self, from: &[u8]) -> Self::G;
    /// BF16, widened.
    fn gload_bf16(self, from: &[u8]) -> Self::G;
    /// F8_E4M3, widened.
    fn gload_f8(self, from: &[u8]) -> Self::G;
}
