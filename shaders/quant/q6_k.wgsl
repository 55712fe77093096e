// Q6_K: 128 bytes of low nibbles, 64 bytes of upper 2-bit planes, 16 signed scales, f16 d; d * scale * (q - 32).
const BLOCK_LEN = 256u;
const BLOCK_BYTES = 210u;

fn dequant(block: u32, e: u32) -> Octet {
    let half = e / 128u;
    let plane = (e % 128u) / 32u;
    let l = e % 32u;
    let code = bitcast<i32>(load_u8(block + 192u + e / 16u) << 24u) >> 24u;
    let scale = load_f16(block + 208u) * f32(code);
    let low = block + 64u * half + 32u * (plane & 1u) + l;
    let high = block + 128u + 32u * half + l;
    let low_shift = 4u * (plane / 2u);
    let high_shift = 2u * plane;
    let lo = ((load_u32(low) >> low_shift) & 0x0f0f0f0fu)
        | (((load_u32(high) >> high_shift) & 0x03030303u) << 4u);
    let hi = ((load_u32(low + 4u) >> low_shift) & 0x0f0f0f0fu)
        | (((load_u32(high + 4u) >> high_shift) & 0x03030303u) << 4u);
    return Octet(scale * (u8x4(lo) - 32.0), scale * (u8x4(hi) - 32.0));
}

fn unpack(block: u32, j: u32) -> Run {
    let plane = j % 4u;
    let codes = load_u16(block + 192u + 2u * j);
    let scale = load_f16(block + 208u)
        * vec2<f32>(bitcast<vec2<i32>>(vec2<u32>(codes << 24u, codes << 16u)) >> vec2<u32>(24u));
    let low = block + 64u * (j / 4u) + 32u * (plane & 1u);
    let high = block + 128u + 32u * (j / 4u);
    let low_shift = vec4<u32>(4u * (plane / 2u));
    let high_shift = vec4<u32>(2u * plane);
    let a = ((load4(low) >> low_shift) & vec4<u32>(0x0f0f0f0fu))
        | (((load4(high) >> high_shift) & vec4<u32>(0x03030303u)) << vec4<u32>(4u));
    let b = ((load4(low + 16u) >> low_shift) & vec4<u32>(0x0f0f0f0fu))
        | (((load4(high + 16u) >> high_shift) & vec4<u32>(0x03030303u)) << vec4<u32>(4u));
    return Run(minus(a, 32u), minus(b, 32u), scale, vec2<f32>());
}
