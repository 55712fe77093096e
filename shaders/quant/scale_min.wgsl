// The 6-bit scale and min of sub-block j from the 12 packed bytes at `at` (Q4_K, Q5_K).
fn scale_min(at: u32, j: u32) -> vec2<f32> {
    if j < 4u {
        return vec2<f32>(vec2<u32>(load_u8(at + j) & 63u, load_u8(at + j + 4u) & 63u));
    }
    let low = load_u8(at + j + 4u);
    return vec2<f32>(vec2<u32>(
        (low & 15u) | ((load_u8(at + j - 4u) >> 6u) << 4u),
        (low >> 4u) | ((load_u8(at + j) >> 6u) << 4u)));
}
