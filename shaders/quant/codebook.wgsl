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

// The same as bytes, of four words of codes at once. Whole words of the table are shifted: no lane looks anything up.
fn entries(table: vec4<u32>, codes: vec4<u32>) -> vec4<u32> {
    var out = vec4<u32>();
    for (var byte = 0u; byte < 32u; byte += 8u) {
        let q = (codes >> vec4<u32>(byte)) & vec4<u32>(15u);
        let shift = (q & vec4<u32>(3u)) * 8u;
        let low = select(vec4<u32>(table.x), vec4<u32>(table.y), (q & vec4<u32>(4u)) != vec4<u32>());
        let high = select(vec4<u32>(table.z), vec4<u32>(table.w), (q & vec4<u32>(4u)) != vec4<u32>());
        let word = select(low, high, (q & vec4<u32>(8u)) != vec4<u32>());
        out |= ((word >> shift) & vec4<u32>(0xffu)) << vec4<u32>(byte);
    }
    return out;
}
