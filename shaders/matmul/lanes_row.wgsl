// One row, four outputs a thread (with TWO two of each matrix): decode on a driver that computes on the CPU. The lanes of
// a subgroup load activations for each other, as in `lanes_tile`.
#import quant/values
#if WINDOWED
#import matmul/windows
#else
#import matmul/lanes
#endif

// Sums over the inputs of the four outputs of a thread.
fn sums_of(tile: Tile, o: u32) -> vec4<f32> {
    let at = source(tile, 0u) / 4u;
    let starts = starts_of(tile, o);
#if WINDOWED
    var sums = vec4<f32>(touched(tile, o - lane));
#else
    var sums = vec4<f32>();
#endif
    let n_in = params.n_in + zero;
    for (var k = 0u; k < n_in; k += 32u) {
        let block = starts + k / BLOCK_LEN * BLOCK_BYTES;
        let mine = x_0(at + k / 4u + lane);
        let a0 = subgroupBroadcast(mine, 0u);
        let a1 = subgroupBroadcast(mine, 1u);
        let a2 = subgroupBroadcast(mine, 2u);
        let a3 = subgroupBroadcast(mine, 3u);
        let a4 = subgroupBroadcast(mine, 4u);
        let a5 = subgroupBroadcast(mine, 5u);
        let a6 = subgroupBroadcast(mine, 6u);
        let a7 = subgroupBroadcast(mine, 7u);
#if PLAIN
        let v = values_0(block.x, k);
        let u = values_1(block.y, k);
        let v2 = values_2(block.z, k);
        let u2 = values_3(block.w, k);
        sums = times(Four(v.a, u.a, v2.a, u2.a), a0, sums);
        sums = times(Four(v.b, u.b, v2.b, u2.b), a1, sums);
        sums = times(Four(v.c, u.c, v2.c, u2.c), a2, sums);
        sums = times(Four(v.d, u.d, v2.d, u2.d), a3, sums);
        sums = times(Four(v.e, u.e, v2.e, u2.e), a4, sums);
        sums = times(Four(v.f, u.f, v2.f, u2.f), a5, sums);
        sums = times(Four(v.g, u.g, v2.g, u2.g), a6, sums);
        sums = times(Four(v.h, u.h, v2.h, u2.h), a7, sums);
#else
        let j = k % BLOCK_LEN / 32u;
        let r0 = unpack(block.x, j);
        let r1 = unpack_1(block.y, j);
        let r2 = unpack_2(block.z, j);
        let r3 = unpack_3(block.w, j);
        let one = vec4<f32>(1.0);
        let total = vec2<f32>(dot(a0 + a1 + a2 + a3, one), dot(a4 + a5 + a6 + a7, one));
        let s = half_of(r0.a, r1.a, r2.a, r3.a, Values16(a0, a1, a2, a3));
        let t = half_of(r0.b, r1.b, r2.b, r3.b, Values16(a4, a5, a6, a7));
        sums = fma(s, vec4<f32>(r0.scale.x, r1.scale.x, r2.scale.x, r3.scale.x), sums);
        sums = fma(t, vec4<f32>(r0.scale.y, r1.scale.y, r2.scale.y, r3.scale.y), sums);
        sums += vec4<f32>(dot(r0.low, total), dot(r1.low, total), dot(r2.low, total), dot(r3.low, total));
#endif
    }
    return sums;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_invocation_id) me: u32,
) {
    begin(me);
    let o = id.x * OUTS;
#if DOWN
    // One thread sums all picks of its row, so that the order of the sum is fixed.
    var sums = vec4<f32>();
    var any = 0u;
    for (var rank = 0u; rank < params.top_k; rank++) {
        let tile = tile_at(group.y, rank);
        if tile.w != NONE {
            sums += factored(tile, o, sums_of(tile, o));
            any = 1u;
        }
    }
    keep(Tile(0u, 0u, NONE, group.y, any), 0u, o, sums);
#else
    let tile = tile_at(group.y, 0u);
    if tile.w == NONE {
        return;
    }
    keep(tile, 0u, o, factored(tile, o, sums_of(tile, o)));
#endif
}
