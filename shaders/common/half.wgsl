// f32 to the bits of the nearest f16, ties to even. `pack2x16float` may round either way.
fn f16_bits(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u {
        return sign | 0x7e00u;
    }
    // 65520 and beyond.
    if magnitude >= 0x477ff000u {
        return sign | 0x7c00u;
    }
    // Below 2^-14: multiples of 2^-24, which is the last place of 0.5.
    if magnitude < 0x38800000u {
        return sign | (bitcast<u32>(abs(value) + 0.5) - 0x3f000000u);
    }
    return sign | ((magnitude - (112u << 23u) + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u);
}
