// Four signed bytes of a table of 16, chosen by the low nibbles of the bytes of `codes`.
fn entry(table: vec4<u32>, q: u32) -> i32 {
    return bitcast<i32>(table[q >> 2u] << (24u - 8u * (q & 3u))) >> 24u;
}

fn codebook(table: vec4<u32>, codes: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(
        entry(table, codes & 15u),
        entry(table, (codes >> 8u) & 15u),
        entry(table, (codes >> 16u) & 15u),
        entry(table, (codes >> 24u) & 15u)));
}
