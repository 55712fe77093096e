// Stores what a thread of `shared_tile` and `packed_tile` has summed: outputs o + 16 i, with TWO half of them of each matrix,
// of rows line + 8 j.
fn store_sums(tile: Tile, line: u32, o: u32, s0: vec4<f32>, s1: vec4<f32>, s2: vec4<f32>, s3: vec4<f32>) {
    for (var j = 0u; j < 4u; j++) {
        let row = line + 8u * j;
#if TWO
        store(tile, row, o, s0[j], s2[j]);
        store(tile, row, o + 16u, s1[j], s3[j]);
#else
        store(tile, row, o, scaled(tile, o, s0[j]), 0.0);
        store(tile, row, o + 16u, scaled(tile, o + 16u, s1[j]), 0.0);
        store(tile, row, o + 32u, scaled(tile, o + 32u, s2[j]), 0.0);
        store(tile, row, o + 48u, scaled(tile, o + 48u, s3[j]), 0.0);
#endif
    }
}
