// IQ4_XS: f16 d, u16 of upper 2-bit scales, 4 bytes of lower nibbles, 128 bytes of nibbles, 16 for each 32 values;
// d * (scale - 32) * VALUES[q].
const BLOCK_LEN = 256u;
const BLOCK_BYTES = 136u;

#import quant/codebook
#import quant/iq4_values

fn dequant(block: u32, e: u32) -> Octet {
    let j = e / 32u;
    let lower = (load_u8(block + 4u + j / 2u) >> (4u * (j & 1u))) & 15u;
    let upper = (load_u16(block + 2u) >> (2u * j)) & 3u;
    let scale = load_f16(block) * (f32(lower | (upper << 4u)) - 32.0);
    let at = block + 8u + 16u * j + e % 16u;
    let shift = 4u * ((e % 32u) / 16u);
    return Octet(
        scale * codebook(IQ4_VALUES, load_u32(at) >> shift),
        scale * codebook(IQ4_VALUES, load_u32(at + 4u) >> shift));
}

fn unpack(block: u32, j: u32) -> Run {
    let lower = (load_u8(block + 4u + j / 2u) >> (4u * (j & 1u))) & 15u;
    let upper = (load_u16(block + 2u) >> (2u * j)) & 3u;
    let scale = load_f16(block) * (f32(lower | (upper << 4u)) - 32.0);
    let q = load4(block + 8u + 16u * j);
    return Run(
        entries(IQ4_VALUES, q), entries(IQ4_VALUES, q >> vec4<u32>(4u)), vec2<f32>(scale), vec2<f32>());
}
