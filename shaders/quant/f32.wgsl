// F32: four bytes a value.
const BLOCK_LEN = 8u;
const BLOCK_BYTES = 32u;
const VALUE_BYTES = 4u;

fn decode(at: u32) -> f32 {
    return bitcast<f32>(load_u32(at));
}

fn word4(at: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(
        vec4<u32>(load_u32(at), load_u32(at + 4u), load_u32(at + 8u), load_u32(at + 12u)));
}

fn dequant(block: u32, e: u32) -> Octet {
    return Octet(word4(block + 4u * e), word4(block + 4u * e + 16u));
}
