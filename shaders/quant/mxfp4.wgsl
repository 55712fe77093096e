// MXFP4: u8 exponent x, nibbles as in Q4_0 that are e2m1 codes; 2^(x - 128) * VALUES[q], VALUES twice the codes' values.
// Scales below 2^-126 (x < 2) are flushed to zero, as a GPU may do with any such number.
const BLOCK_LEN = 32u;
const BLOCK_BYTES = 17u;

#import quant/codebook

// 0 1 2 3 4 6 8 12 and their negatives.
const VALUES = vec4<u32>(0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu);

fn dequant(block: u32, e: u32) -> Octet {
    let d = bitcast<f32>((max(load_u8(block), 1u) - 1u) << 23u);
    let at = block + 1u + (e & 15u);
    let shift = (e >> 4u) * 4u;
    return Octet(
        d * codebook(VALUES, load_u32(at) >> shift),
        d * codebook(VALUES, load_u32(at + 4u) >> shift));
}

fn unpack(block: u32, j: u32) -> Run {
    let d = bitcast<f32>((max(load_u8(block), 1u) - 1u) << 23u);
    let q = load4(block + 1u);
    return Run(entries(VALUES, q), entries(VALUES, q >> vec4<u32>(4u)), vec2<f32>(d), vec2<f32>());
}
