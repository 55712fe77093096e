// BF16: the upper half of an f32.
const BLOCK_LEN = 8u;
const BLOCK_BYTES = 16u;
const VALUE_BYTES = 2u;

fn decode(at: u32) -> f32 {
    return bitcast<f32>(load_u16(at) << 16u);
}

fn upper4(at: u32) -> vec4<f32> {
    let a = load_u32(at);
    let b = load_u32(at + 4u);
    return bitcast<vec4<f32>>(vec4<u32>(a << 16u, a & 0xffff0000u, b << 16u, b & 0xffff0000u));
}

fn dequant(block: u32, e: u32) -> Octet {
    return Octet(upper4(block + 2u * e), upper4(block + 2u * e + 8u));
}
