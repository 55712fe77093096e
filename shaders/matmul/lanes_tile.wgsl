// Up to 16 rows, four outputs a thread (with TWO two of each matrix): prefill on a driver that computes on the CPU.
//
// There a load costs as much as dozens of products, of one number as of four. So the lanes of a subgroup, which want the
// same activations, load four each of 32 and hand them to each other; and a weight is expanded once for all rows.
#import quant/values
#if WINDOWED
#import matmul/windows
#else
#import matmul/lanes
#endif

// 32 weights of each of two outputs, of which the sums are wanted. Named one by one: an array would live in memory.
var<private> v: Values;
var<private> u: Values;
var<private> v2: Values;
var<private> u2: Values;

// Their products with 32 activations, of which `mine` are this lane's.
fn row(mine: vec4<f32>) -> vec4<f32> {
    let a0 = subgroupBroadcast(mine, 0u);
    let a1 = subgroupBroadcast(mine, 1u);
    let a2 = subgroupBroadcast(mine, 2u);
    let a3 = subgroupBroadcast(mine, 3u);
    let a4 = subgroupBroadcast(mine, 4u);
    let a5 = subgroupBroadcast(mine, 5u);
    let a6 = subgroupBroadcast(mine, 6u);
    let a7 = subgroupBroadcast(mine, 7u);
    var s = vec4<f32>();
    s = times(Four(v.a, u.a, v2.a, u2.a), a0, s);
    s = times(Four(v.b, u.b, v2.b, u2.b), a1, s);
    s = times(Four(v.c, u.c, v2.c, u2.c), a2, s);
    s = times(Four(v.d, u.d, v2.d, u2.d), a3, s);
    s = times(Four(v.e, u.e, v2.e, u2.e), a4, s);
    s = times(Four(v.f, u.f, v2.f, u2.f), a5, s);
    s = times(Four(v.g, u.g, v2.g, u2.g), a6, s);
    s = times(Four(v.h, u.h, v2.h, u2.h), a7, s);
    return s;
}

fn four_sources(tile: Tile, i: u32) -> vec4<u32> {
    return vec4<u32>(source(tile, i), source(tile, i + 1u), source(tile, i + 2u), source(tile, i + 3u)) / 4u;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_invocation_id) me: u32,
) {
    begin(me);
    let tile = tile_at(group.y, 0u);
    if tile.w == NONE {
        return;
    }
    let a = four_sources(tile, 0u);
    let b = four_sources(tile, 4u);
    let c = four_sources(tile, 8u);
    let d = four_sources(tile, 12u);
    let o = id.x * OUTS;
    let starts = starts_of(tile, o);
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    var s4 = vec4<f32>();
    var s5 = vec4<f32>();
    var s6 = vec4<f32>();
    var s7 = vec4<f32>();
    var s8 = vec4<f32>();
    var s9 = vec4<f32>();
    var s10 = vec4<f32>();
    var s11 = vec4<f32>();
    var s12 = vec4<f32>();
    var s13 = vec4<f32>();
    var s14 = vec4<f32>();
    var s15 = vec4<f32>();
    let n_in = params.n_in + zero;
    for (var k = 0u; k < n_in; k += 32u) {
        let block = starts + k / BLOCK_LEN * BLOCK_BYTES;
        v = values_0(block.x, k);
        u = values_1(block.y, k);
        v2 = values_2(block.z, k);
        u2 = values_3(block.w, k);
        let at = k / 4u + lane;
        s0 += row(x_0(a.x + at));
        s1 += row(x_0(a.y + at));
        s2 += row(x_0(a.z + at));
        s3 += row(x_0(a.w + at));
        s4 += row(x_1(b.x + at));
        s5 += row(x_1(b.y + at));
        s6 += row(x_1(b.z + at));
        s7 += row(x_1(b.w + at));
        s8 += row(x_2(c.x + at));
        s9 += row(x_2(c.y + at));
        s10 += row(x_2(c.z + at));
        s11 += row(x_2(c.w + at));
        s12 += row(x_3(d.x + at));
        s13 += row(x_3(d.y + at));
        s14 += row(x_3(d.z + at));
        s15 += row(x_3(d.w + at));
    }
    keep(tile, 0u, o, factored(tile, o, s0));
    keep(tile, 1u, o, factored(tile, o, s1));
    keep(tile, 2u, o, factored(tile, o, s2));
    keep(tile, 3u, o, factored(tile, o, s3));
    keep(tile, 4u, o, factored(tile, o, s4));
    keep(tile, 5u, o, factored(tile, o, s5));
    keep(tile, 6u, o, factored(tile, o, s6));
    keep(tile, 7u, o, factored(tile, o, s7));
    keep(tile, 8u, o, factored(tile, o, s8));
    keep(tile, 9u, o, factored(tile, o, s9));
    keep(tile, 10u, o, factored(tile, o, s10));
    keep(tile, 11u, o, factored(tile, o, s11));
    keep(tile, 12u, o, factored(tile, o, s12));
    keep(tile, 13u, o, factored(tile, o, s13));
    keep(tile, 14u, o, factored(tile, o, s14));
    keep(tile, 15u, o, factored(tile, o, s15));
}
