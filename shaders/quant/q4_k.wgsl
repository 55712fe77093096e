// Q4_K: f16 d, f16 dmin, 12 bytes of 6-bit scales and minima, 128 bytes of nibbles (each 32: a run low, a run high);
// d * scale * q - dmin * min.
const BLOCK_LEN = 256u;
const BLOCK_BYTES = 144u;

#import quant/scale_min

fn dequant(block: u32, e: u32) -> Octet {
    let j = e / 32u;
    let s = unpack2x16float(load_u32(block)) * scale_min(block + 4u, j);
    let at = block + 16u + 32u * (j / 2u) + e % 32u;
    let shift = 4u * (j & 1u);
    return Octet(
        s.x * u8x4((load_u32(at) >> shift) & 0x0f0f0f0fu) - s.y,
        s.x * u8x4((load_u32(at + 4u) >> shift) & 0x0f0f0f0fu) - s.y);
}

fn unpack(block: u32, j: u32) -> Run {
    let s = unpack2x16float(load_u32(block)) * scale_min(block + 4u, j);
    let at = block + 16u + 32u * (j / 2u);
    let shift = vec4<u32>(4u * (j & 1u));
    return Run(
        (load4(at) >> shift) & vec4<u32>(0x0f0f0f0fu), (load4(at + 16u) >> shift) & vec4<u32>(0x0f0f0f0fu),
        s.xx, -s.yy);
}
