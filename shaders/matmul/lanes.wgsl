// What a row and a tile of rows have in common where lanes load for each other.

#if TWO
const OUTS = 2u;
#import quant/expand as up
#else
const OUTS = 4u;
#endif
#import quant/expand

// Four weights of each of four outputs times four activations, added to the sums.
fn times(w: Four, a: vec4<f32>, sums: vec4<f32>) -> vec4<f32> {
    var s = fma(vec4<f32>(w.a.x, w.b.x, w.c.x, w.d.x), vec4<f32>(a.x), sums);
    s = fma(vec4<f32>(w.a.y, w.b.y, w.c.y, w.d.y), vec4<f32>(a.y), s);
    s = fma(vec4<f32>(w.a.z, w.b.z, w.c.z, w.d.z), vec4<f32>(a.z), s);
    return fma(vec4<f32>(w.a.w, w.b.w, w.c.w, w.d.w), vec4<f32>(a.w), s);
}

// Index in its subgroup, of eight lanes that load together.
var<private> lane: u32;

// First bytes of outputs o .. o + 4; with TWO of o and o + 1 of both matrices. The last output stands for those after it.
fn starts_of(tile: Tile, o: u32) -> vec4<u32> {
    let all = min(vec4<u32>(o, o + 1u, o + 2u, o + 3u), vec4<u32>(params.n_out - 1u));
#if TWO
    return vec4<u32>(tile.w + all.xy * params.w_stride, tile.up + all.xy * params.up_stride);
#else
    return tile.w + all * params.w_stride;
#endif
}

// The sums times the outputs' factors.
fn factored(tile: Tile, o: u32, sums: vec4<f32>) -> vec4<f32> {
#if TWO
    return sums;
#else
    return vec4<f32>(scaled(tile, o, sums.x), scaled(tile, o + 1u, sums.y),
        scaled(tile, o + 2u, sums.z), scaled(tile, o + 3u, sums.w));
#endif
}

// Stores the factored sums of row i.
fn keep(tile: Tile, i: u32, o: u32, sums: vec4<f32>) {
#if TWO
    store(tile, i, o, sums.x, sums.z);
    store(tile, i, o + 1u, sums.y, sums.w);
#else
    store(tile, i, o, sums.x, 0.0);
    store(tile, i, o + 1u, sums.y, 0.0);
    store(tile, i, o + 2u, sums.z, 0.0);
    store(tile, i, o + 3u, sums.w, 0.0);
#endif
}
