//! 64-byte vectors of plain arrays.

use super::columns::ROWS;
use super::{Columns, Lanes, Portable, Wide};
use half::f16;

type V = [u8; 32];
type T = [i32; 16];

fn bytes(a: T) -> [u8; 64] {
    let mut out = [0; 64];
    for (out, a) in out.as_chunks_mut().0.iter_mut().zip(a) {
        *out = a.to_le_bytes();
    }
    out
}

fn from_bytes(a: [u8; 64]) -> T {
    let mut out = [0; 16];
    for (out, a) in out.iter_mut().zip(a.as_chunks().0) {
        *out = i32::from_le_bytes(*a);
    }
    out
}

fn halves(a: T) -> [i16; 32] {
    let mut out = [0; 32];
    for (out, a) in out.iter_mut().zip(bytes(a).as_chunks().0) {
        *out = i16::from_le_bytes(*a);
    }
    out
}

fn from_halves(a: [i16; 32]) -> T {
    let mut out = [0; 64];
    for (out, a) in out.as_chunks_mut().0.iter_mut().zip(a) {
        *out = a.to_le_bytes();
    }
    from_bytes(out)
}

fn zip_bytes(a: T, b: T, f: impl Fn(u8, u8) -> u8) -> T {
    let (a, b) = (bytes(a), bytes(b));
    from_bytes(core::array::from_fn(|i| f(a[i], b[i])))
}

fn zip_halves(a: T, b: T, f: impl Fn(i16, i16) -> i16) -> T {
    let (a, b) = (halves(a), halves(b));
    from_halves(core::array::from_fn(|i| f(a[i], b[i])))
}

fn shifted(a: T, f: impl Fn(u16, usize) -> u16) -> T {
    let a = halves(a);
    from_halves(core::array::from_fn(|i| f(a[i] as u16, i / 8) as i16))
}

impl Columns for Portable {
    #[inline]
    fn tcolumns(self, rows: [&[u8; 16]; ROWS]) -> [T; 4] {
        core::array::from_fn(|j| core::array::from_fn(|i| i32::from_le_bytes(rows[i].as_chunks().0[j])))
    }
    #[inline]
    fn tstore(self, a: T, to: &mut [u32]) {
        to[..16].copy_from_slice(&a.map(i32::cast_unsigned));
    }
    #[inline]
    fn tstart(self, _: i32, codes: &[T]) -> T {
        let sums = codes.iter().fold([0; 16], |sums, codes| self.tadd_bytes(128, sums, *codes, 0x8080_8080));
        sums.map(i32::wrapping_neg)
    }
    #[inline]
    fn tsplat8(self, value: i8) -> T {
        from_bytes([value as u8; 64])
    }
    #[inline]
    fn tand(self, a: T, b: T) -> T {
        zip_bytes(a, b, |a, b| a & b)
    }
    #[inline]
    fn tor(self, a: T, b: T) -> T {
        zip_bytes(a, b, |a, b| a | b)
    }
    #[inline]
    fn tsub8(self, a: T, b: T) -> T {
        zip_bytes(a, b, u8::wrapping_sub)
    }
    #[inline]
    fn tbyte(self, a: T, i: usize) -> T {
        a.map(|a| i32::from(a.to_le_bytes()[i] as i8))
    }
    #[inline]
    fn tclear(self, a: T, four: usize) -> T {
        let byte = |a: i32, i: usize| if a >> (4 * four + i) & 1 == 0 { 0xFF } else { 0 };
        a.map(|a| i32::from_le_bytes([0, 1, 2, 3].map(|i| byte(a, i))))
    }
    #[inline]
    fn gwords(self, a: T, high: bool) -> [f32; 16] {
        a.map(|a| f16::from_bits((if high { a >> 16 } else { a }) as u16).to_f32())
    }
    #[inline]
    fn gone_nan(self, a: [f32; 16]) -> [f32; 16] {
        a.map(|a| if a.is_nan() { f32::NAN } else { a })
    }
    #[inline]
    fn tbf16_pairs(self, low: [f32; 16], high: [f32; 16]) -> T {
        let half = |a: f32| a.to_bits().wrapping_add(0x8000);
        core::array::from_fn(|i| (half(low[i]) >> 16 | half(high[i]) & 0xFFFF_0000) as i32)
    }
    #[inline]
    fn tdown(self, a: T, bits: usize) -> T {
        self.tshr16(a, [bits as u16; 4])
    }
    #[inline]
    fn tup(self, a: T, bits: usize) -> T {
        self.tshl16(a, [bits as u16; 4])
    }
    #[inline]
    fn twiden_bytes(self, a: T) -> [T; 2] {
        let bytes = bytes(a);
        let of = |first: usize| from_halves(core::array::from_fn(|i| i16::from(bytes[2 * i + first] as i8)));
        [of(0), of(1)]
    }
    #[inline]
    fn tlookup(self, table: &[u8; 16], index: T) -> T {
        from_bytes(bytes(index).map(|i| table[usize::from(i) % 16]))
    }
}

impl Wide for Portable {
    #[inline]
    fn tbytes(self, from: &[u8; 64]) -> T {
        from_bytes(*from)
    }
    #[inline]
    fn ttwice(self, from: &[u8; 32]) -> T {
        self.thalves(*from, *from)
    }
    #[inline]
    fn tjoin4(self, from: [&[u8; 16]; 4]) -> T {
        from_bytes(core::array::from_fn(|i| from[i / 16][i % 16]))
    }
    #[inline]
    fn thalves(self, low: V, high: V) -> T {
        from_bytes(core::array::from_fn(|i| if i < 32 { low[i] } else { high[i - 32] }))
    }
    #[inline]
    fn tlow(self, a: T) -> V {
        let a = bytes(a);
        core::array::from_fn(|i| a[i])
    }
    #[inline]
    fn thigh(self, a: T) -> V {
        let a = bytes(a);
        core::array::from_fn(|i| a[32 + i])
    }
    #[inline]
    fn txor(self, a: T, b: T) -> T {
        zip_bytes(a, b, |a, b| a ^ b)
    }
    #[inline]
    fn tshr16(self, a: T, bits: [u16; 4]) -> T {
        shifted(a, |a, quarter| a >> bits[quarter])
    }
    #[inline]
    fn tshl16(self, a: T, bits: [u16; 4]) -> T {
        shifted(a, |a, quarter| a << bits[quarter])
    }
    #[inline]
    fn tsub16(self, a: T, b: T) -> T {
        zip_halves(a, b, i16::wrapping_sub)
    }
    #[inline]
    fn tmul16(self, a: T, b: T) -> T {
        zip_halves(a, b, i16::wrapping_mul)
    }
    #[inline]
    fn tadd32(self, a: T, b: T) -> T {
        core::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }
    #[inline]
    fn tsub32(self, a: T, b: T) -> T {
        core::array::from_fn(|i| a[i].wrapping_sub(b[i]))
    }
    #[inline]
    fn tadd8_where(self, a: T, value: T, bits: T, of: T) -> T {
        let set = zip_bytes(bits, of, |bits, of| if bits & of == 0 { 0 } else { 0xFF });
        zip_bytes(a, self.tand(set, value), u8::wrapping_add)
    }
    #[inline]
    fn tshuffle8(self, table: T, index: T) -> T {
        self.thalves(
            self.shuffle8(self.tlow(table), self.tlow(index)),
            self.shuffle8(self.thigh(table), self.thigh(index)),
        )
    }
    #[inline]
    fn tdot8(self, acc: T, unsigned: T, signed: T) -> T {
        let (unsigned, signed) = (bytes(unsigned), bytes(signed));
        let product = |i: usize| i32::from(unsigned[i]) * i32::from(signed[i] as i8);
        core::array::from_fn(|i| acc[i].wrapping_add((4 * i..4 * i + 4).map(product).sum()))
    }
    #[inline]
    fn tmul8_pairs_signed(self, w: T, x: T) -> T {
        let (w, x) = (bytes(w), bytes(x));
        let product = |i: usize| i16::from(w[i] as i8) * i16::from(x[i] as i8);
        from_halves(core::array::from_fn(|i| product(2 * i).saturating_add(product(2 * i + 1))))
    }
    #[inline]
    fn tpack16(self, a: T, b: T) -> T {
        from_halves(core::array::from_fn(|i| {
            let from = if i % 8 < 4 { a } else { b };
            from[i / 8 * 4 + i % 4].clamp(i16::MIN.into(), i16::MAX.into()) as i16
        }))
    }
    #[inline]
    fn tmul16_sums(self, a: T, b: T) -> T {
        let (a, b) = (halves(a), halves(b));
        let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
        core::array::from_fn(|i| product(2 * i).wrapping_add(product(2 * i + 1)))
    }
    #[inline]
    fn tpick16(self, a: T, index: &[u16; 32]) -> T {
        let a = halves(a);
        from_halves(index.map(|i| a[usize::from(i) % 32]))
    }
    #[inline]
    fn tpick16_2(self, a: T, b: T, index: &[u16; 32]) -> T {
        let both = [halves(a), halves(b)];
        from_halves(index.map(|i| both[usize::from(i) / 32 % 2][usize::from(i) % 32]))
    }
    #[inline]
    fn tpick32_2(self, a: T, b: T, index: &[u32; 16]) -> T {
        index.map(|i| [a, b][i as usize / 16 % 2][i as usize % 16])
    }
    #[inline]
    fn gtwice(self, a: [f32; 8]) -> [f32; 16] {
        core::array::from_fn(|i| a[i % 8])
    }
    #[inline]
    fn ghalf(self, from: &[u8; 2]) -> [f32; 16] {
        [f16::from_le_bytes(*from).to_f32(); 16]
    }
    #[inline]
    fn gpair(self, [a, b, c, d]: &[u8; 4]) -> [[f32; 16]; 2] {
        [self.ghalf(&[*a, *b]), self.ghalf(&[*c, *d])]
    }
    #[inline]
    fn ghalves(self, a: V) -> [f32; 16] {
        core::array::from_fn(|i| f16::from_le_bytes([a[2 * i], a[2 * i + 1]]).to_f32())
    }
}
