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
