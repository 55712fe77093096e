// Q4_1: f16 d, f16 m, nibbles as in Q4_0; q * d + m.
const BLOCK_LEN = 32u;
const BLOCK_BYTES = 20u;

fn dequant(block: u32, e: u32) -> Octet {
    let dm = unpack2x16float(load_u32(block));
    let at = block + 4u + (e & 15u);
    let shift = (e >> 4u) * 4u;
    return Octet(
        u8x4((load_u32(at) >> shift) & 0x0f0f0f0fu) * dm.x + dm.y,
        u8x4((load_u32(at + 4u) >> shift) & 0x0f0f0f0fu) * dm.x + dm.y);
}

fn unpack(block: u32, j: u32) -> Run {
    let dm = unpack2x16float(load_u32(block));
    let q = load4(block + 4u);
    return Run(
        q & vec4<u32>(0x0f0f0f0fu), (q >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu), dm.xx, dm.yy);
}
