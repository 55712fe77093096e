// Q5_0: f16 d, u32 of fifth bits, nibbles as in Q4_0; d * (q - 16).
const BLOCK_LEN = 32u;
const BLOCK_BYTES = 22u;

#import quant/fifth

fn dequant(block: u32, e: u32) -> Octet {
    let d = load_f16(block);
    let high = load_u32(block + 2u) >> e;
    let at = block + 6u + (e & 15u);
    let shift = (e >> 4u) * 4u;
    return Octet(
        d * (u8x4(((load_u32(at) >> shift) & 0x0f0f0f0fu) | fifth(high)) - 16.0),
        d * (u8x4(((load_u32(at + 4u) >> shift) & 0x0f0f0f0fu) | fifth(high >> 4u)) - 16.0));
}

fn unpack(block: u32, j: u32) -> Run {
    let high = load_u32(block + 2u);
    let q = load4(block + 6u);
    let d = vec2<f32>(load_f16(block));
    return Run(
        (q & vec4<u32>(0x0f0f0f0fu)) | fifths(high),
        ((q >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu)) | fifths(high >> 16u), d, -16.0 * d);
}
