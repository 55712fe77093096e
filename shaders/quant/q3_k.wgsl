// Q3_K: 32 bytes of third bits (bit e / 32 of byte e % 32), 64 bytes of 2-bit planes as in Q2_K, 12 bytes of 6-bit
// scales around 32 (8 of nibbles, 4 of 2-bit planes), f16 d; d * scale * (q - 4).
const BLOCK_LEN = 256u;
const BLOCK_BYTES = 110u;

fn dequant(block: u32, e: u32) -> Octet {
    let k = e / 16u;
    let nibble = (load_u8(block + 96u + k % 8u) >> (4u * (k / 8u))) & 15u;
    let upper = (load_u8(block + 104u + k % 4u) >> (2u * (k / 4u))) & 3u;
    let scale = load_f16(block + 108u) * (f32(nibble | (upper << 4u)) - 32.0);
    let third = block + e % 32u;
    let at = third + 32u + 32u * (e / 128u);
    let shift = 2u * ((e % 128u) / 32u);
    let bit = e / 32u;
    let lo = ((load_u32(at) >> shift) & 0x03030303u) | (((load_u32(third) >> bit) & 0x01010101u) << 2u);
    let hi = ((load_u32(at + 4u) >> shift) & 0x03030303u) | (((load_u32(third + 4u) >> bit) & 0x01010101u) << 2u);
    return Octet(scale * (u8x4(lo) - 4.0), scale * (u8x4(hi) - 4.0));
}

fn unpack(block: u32, j: u32) -> Run {
    let k = 2u * (j % 4u);
    let nibbles = vec2<u32>(load_u8(block + 96u + k), load_u8(block + 97u + k)) >> vec2<u32>(4u * (j / 4u));
    let k4 = k % 4u;
    let planes = vec2<u32>(load_u8(block + 104u + k4), load_u8(block + 105u + k4)) >> vec2<u32>(2u * (j / 2u));
    let codes = (nibbles & vec2<u32>(15u)) | ((planes & vec2<u32>(3u)) << vec2<u32>(4u));
    let scale = load_f16(block + 108u) * (vec2<f32>(codes) - 32.0);
    let at = block + 32u + 32u * (j / 4u);
    let shift = vec4<u32>(2u * (j % 4u));
    let bit = vec4<u32>(j);
    let a = ((load4(at) >> shift) & vec4<u32>(0x03030303u))
        | (((load4(block) >> bit) & vec4<u32>(0x01010101u)) << vec4<u32>(2u));
    let b = ((load4(at + 16u) >> shift) & vec4<u32>(0x03030303u))
        | (((load4(block + 16u) >> bit) & vec4<u32>(0x01010101u)) << vec4<u32>(2u));
    return Run(a, b, scale, -4.0 * scale);
}
