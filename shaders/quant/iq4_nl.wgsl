// IQ4_NL: f16 d, nibbles as in Q4_0 that index a table; d * VALUES[q].
const BLOCK_LEN = 32u;
const BLOCK_BYTES = 18u;

#import quant/codebook
#import quant/iq4_values

fn dequant(block: u32, e: u32) -> Octet {
    let d = load_f16(block);
    let at = block + 2u + (e & 15u);
    let shift = (e >> 4u) * 4u;
    return Octet(
        d * codebook(IQ4_VALUES, load_u32(at) >> shift),
        d * codebook(IQ4_VALUES, load_u32(at + 4u) >> shift));
}

fn unpack(block: u32, j: u32) -> Run {
    let q = load4(block + 2u);
    return Run(
        entries(IQ4_VALUES, q), entries(IQ4_VALUES, q >> vec4<u32>(4u)), vec2<f32>(load_f16(block)), vec2<f32>());
}
