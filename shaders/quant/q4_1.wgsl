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
