// F16: IEEE binary16.
const BLOCK_LEN = 8u;
const BLOCK_BYTES = 16u;
const VALUE_BYTES = 2u;

fn decode(at: u32) -> f32 {
    return load_f16(at);
}

fn half4(at: u32) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(load_u32(at)), unpack2x16float(load_u32(at + 4u)));
}

fn dequant(block: u32, e: u32) -> Octet {
    return Octet(half4(block + 2u * e), half4(block + 2u * e + 8u));
}
