// Q4_0: f16 d, 16 bytes of nibbles (low: values 0..15, high: 16..31); d * (q - 8).
const BLOCK_LEN = 32u;
const BLOCK_BYTES = 18u;

fn dequant(block: u32, e: u32) -> Octet {
    let d = load_f16(block);
    let at = block + 2u + (e & 15u);
    let shift = (e >> 4u) * 4u;
    return Octet(
        d * (u8x4((load_u32(at) >> shift) & 0x0f0f0f0fu) - 8.0),
        d * (u8x4((load_u32(at + 4u) >> shift) & 0x0f0f0f0fu) - 8.0));
}

fn unpack(block: u32, j: u32) -> Run {
    let q = load4(block + 2u);
    let d = vec2<f32>(load_f16(block));
    return Run(q & vec4<u32>(0x0f0f0f0fu), (q >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu), d, -8.0 * d);
}
