// Q2_K: 16 bytes of scale (low nibble) and min (high), 64 bytes of four 2-bit planes a half, f16 d, f16 dmin.
const BLOCK_LEN = 256u;
const BLOCK_BYTES = 84u;

fn dequant(block: u32, e: u32) -> Octet {
    let code = load_u8(block + e / 16u);
    let dm = unpack2x16float(load_u32(block + 80u));
    let scale = dm.x * f32(code & 15u);
    let low = dm.y * f32(code >> 4u);
    let at = block + 16u + 32u * (e / 128u) + e % 32u;
    let shift = 2u * ((e % 128u) / 32u);
    return Octet(
        scale * u8x4((load_u32(at) >> shift) & 0x03030303u) - low,
        scale * u8x4((load_u32(at + 4u) >> shift) & 0x03030303u) - low);
}

fn unpack(block: u32, j: u32) -> Run {
    let codes = vec2<u32>(load_u8(block + 2u * j), load_u8(block + 2u * j + 1u));
    let dm = unpack2x16float(load_u32(block + 80u));
    let at = block + 16u + 32u * (j / 4u);
    let shift = vec4<u32>(2u * (j % 4u));
    return Run(
        (load4(at) >> shift) & vec4<u32>(0x03030303u), (load4(at + 16u) >> shift) & vec4<u32>(0x03030303u),
        dm.x * vec2<f32>(codes & vec2<u32>(15u)), -dm.y * vec2<f32>(codes >> vec2<u32>(4u)));
}
