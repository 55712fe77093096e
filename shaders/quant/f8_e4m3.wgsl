// F8_E4M3: the "fn" variant, sign, 4 bits of exponent (bias 7), 3 of fraction, no infinities.
const BLOCK_LEN = 8u;
const BLOCK_BYTES = 8u;
const VALUE_BYTES = 1u;

fn e4m3(code: u32) -> f32 {
    let magnitude = code & 0x7fu;
    // Exponent 0 holds multiples of 2^-9. The code 0x7f is NaN, whose f32 bits are all ones below the sign.
    let small = bitcast<u32>(f32(magnitude) * 0.001953125);
    let normal = (magnitude << 20u) + (120u << 23u);
    let finite = select(normal, small, magnitude < 8u);
    return bitcast<f32>(select(finite, 0x7fffffffu, magnitude == 0x7fu) | ((code & 0x80u) << 24u));
}

fn decode(at: u32) -> f32 {
    return e4m3(load_u8(at));
}

fn byte4(word: u32) -> vec4<f32> {
    return vec4<f32>(
        e4m3(word & 0xffu), e4m3((word >> 8u) & 0xffu), e4m3((word >> 16u) & 0xffu), e4m3(word >> 24u));
}

fn dequant(block: u32, e: u32) -> Octet {
    return Octet(byte4(load_u32(block + e)), byte4(load_u32(block + e + 4u)));
}
