//! F8_E4M3: the "fn" variant of the OCP 8-bit float (no infinities, largest value 448), one byte a value.
//!
//! Bits, high to low: sign, 4 of exponent (bias 7), 3 of fraction. Exponent 0 holds multiples of 2⁻⁹; the codes
//! 0x7F and 0xFF are NaN. Row or tensor scales live beside the data and are the caller's to apply.
//! Source: OCP 8-bit Floating Point Specification, revision 1.0.

/// Largest finite value.
pub const MAX: f32 = 448.0;

/// The value of a code.
pub const fn decode(code: u8) -> f32 {
    let sign = (code as u32 & 0x80) << 24;
    let magnitude = if code & 0x7F == 0x7F {
        f32::NAN
    } else {
        // Put at the top of an f32's fraction and exponent the bits mean 2^(7 - 127) of the value, subnormals too.
        f32::from_bits((code as u32 & 0x7F) << 20) * f32::from_bits((127 + 120) << 23)
    };
    f32::from_bits(magnitude.to_bits() | sign)
}

/// The nearest code, ties to even; magnitudes beyond [`MAX`] and infinities saturate, NaN stays NaN.
pub fn encode(x: f32) -> u8 {
    let sign = (x.to_bits() >> 24) as u8 & 0x80;
    if x.is_nan() {
        return sign | 0x7F;
    }
    let x = x.abs().min(MAX);
    let code = if x < 1.0 / 64.0 {
        libm::rintf(x * 512.0) as u8
    } else {
        let bits = x.to_bits() - (120 << 23);
        ((bits + 0x7_FFFF + ((bits >> 20) & 1)) >> 20) as u8
    };
    sign | code
}

/// [`decode`] as a block of one value.
pub fn dequantize_block(block: &[u8; 1], out: &mut [f32; 1]) {
    *out = [decode(block[0])];
}

/// [`encode`] as a block of one value.
pub fn quantize_block(x: &[f32; 1]) -> [u8; 1] {
    [encode(x[0])]
}
