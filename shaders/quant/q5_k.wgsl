// Q5_K: as Q4_K with 32 bytes of fifth bits (bit e / 32 of byte e % 32) before the nibbles.
const BLOCK_LEN = 256u;
const BLOCK_BYTES = 176u;

#import quant/scale_min

fn dequant(block: u32, e: u32) -> Octet {
    let j = e / 32u;
    let s = unpack2x16float(load_u32(block)) * scale_min(block + 4u, j);
    let high = block + 16u + e % 32u;
    let at = high + 32u + 32u * (j / 2u);
    let shift = 4u * (j & 1u);
    let lo = ((load_u32(at) >> shift) & 0x0f0f0f0fu) | (((load_u32(high) >> j) & 0x01010101u) << 4u);
    let hi = ((load_u32(at + 4u) >> shift) & 0x0f0f0f0fu) | (((load_u32(high + 4u) >> j) & 0x01010101u) << 4u);
    return Octet(s.x * u8x4(lo) - s.y, s.x * u8x4(hi) - s.y);
}

fn unpack(block: u32, j: u32) -> Run {
    let s = unpack2x16float(load_u32(block)) * scale_min(block + 4u, j);
    let at = block + 48u + 32u * (j / 2u);
    let shift = vec4<u32>(4u * (j & 1u));
    let bit = vec4<u32>(j);
    let a = ((load4(at) >> shift) & vec4<u32>(0x0f0f0f0fu))
        | (((load4(block + 16u) >> bit) & vec4<u32>(0x01010101u)) << vec4<u32>(4u));
    let b = ((load4(at + 16u) >> shift) & vec4<u32>(0x0f0f0f0fu))
        | (((load4(block + 32u) >> bit) & vec4<u32>(0x01010101u)) << vec4<u32>(4u));
    return Run(a, b, s.xx, -s.yy);
}
