// Bits 0..3 as bit 4 of each byte of a word.
fn fifth(bits: u32) -> u32 {
    return ((bits & 1u) << 4u) | ((bits & 2u) << 11u) | ((bits & 4u) << 18u) | ((bits & 8u) << 25u);
}

// Bits 0..15 as bit 4 of each byte of four words.
fn fifths(bits: u32) -> vec4<u32> {
    return vec4<u32>(fifth(bits), fifth(bits >> 4u), fifth(bits >> 8u), fifth(bits >> 12u));
}
