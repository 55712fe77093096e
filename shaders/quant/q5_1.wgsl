// Q5_1: f16 d, f16 m, u32 of fifth bits, nibbles as in Q4_0; q * d + m.
const BLOCK_LEN = 32u;
const BLOCK_BYTES = 24u;

#import quant/fifth

fn dequant(block: u32, e: u32) -> Octet {
    let dm = unpack2x16float(load_u32(block));
    let high = load_u32(block + 4u) >> e;
    let at = block + 8u + (e & 15u);
    let shift = (e >> 4u) * 4u;
    return Octet(
        u8x4(((load_u32(at) >> shift) & 0x0f0f0f0fu) | fifth(high)) * dm.x + dm.y,
        u8x4(((load_u32(at + 4u) >> shift) & 0x0f0f0f0fu) | fifth(high >> 4u)) * dm.x + dm.y);
}

fn unpack(block: u32, j: u32) -> Run {
    let dm = unpack2x16float(load_u32(block));
    let high = load_u32(block + 4u);
    let q = load4(block + 8u);
    return Run(
        (q & vec4<u32>(0x0f0f0f0fu)) | fifths(high),
        ((q >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu)) | fifths(high >> 16u), dm.xx, dm.yy);
}
