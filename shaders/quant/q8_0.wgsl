// Q8_0: f16 d, 32 signed bytes; d * q.
const BLOCK_LEN = 32u;
const BLOCK_BYTES = 34u;

fn dequant(block: u32, e: u32) -> Octet {
    let d = load_f16(block);
    let at = block + 2u + e;
    return Octet(d * i8x4(load_u32(at)), d * i8x4(load_u32(at + 4u)));
}

fn unpack(block: u32, j: u32) -> Run {
    return Run(load4(block + 2u), load4(block + 18u), vec2<f32>(load_f16(block)), vec2<f32>());
}
