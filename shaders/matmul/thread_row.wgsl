// One row, OUTS neighbouring outputs a thread: decode where lanes need not load together, rows of any length.
#import quant/values
#import common/weights
#import common/words
#import quant/{format}
#import matmul/params
#import matmul/x8

const TILE = 1u;
#import matmul/job

#if TWO
// Outputs of both matrices, two of each.
const OUTS = 2u;
#else
const OUTS = 4u;
#endif
#if DOWN
#else
const RANKS = 1u;
#endif

fn times(v: Octet, a: Octet) -> f32 {
    return dot(v.lo, a.lo) + dot(v.hi, a.hi);
}

#if PLAIN
#else
// Eight weights of a run times eight activations, whose sum is `total`.
fn part(run: Run, k: u32, a: Octet, total: f32) -> f32 {
    let half = select(run.a, run.b, k >= 2u);
    let two = select(half.xy, half.zw, (k & 1u) == 1u);
    let ab = vec2<f32>(run.scale.x, run.low.x);
    let f = select(ab, vec2<f32>(run.scale.y, run.low.y), k >= 2u);
    return times(Octet(i8x4(two.x), i8x4(two.y)), a) * f.x + total * f.y;
}
#endif

// Sums over the inputs, of outputs o .. o + 4; with TWO of o and o + 1 of both matrices.
fn sums_of(tile: Tile, o: u32) -> vec4<f32> {
    let last = params.n_out - 1u;
    let block = tile.w + min(vec4<u32>(o, o + 1u, o + 2u, o + 3u), vec4<u32>(last)) * params.w_stride;
    var at = source(tile, 0u);
    var b0 = block.x;
    var b1 = block.y;
#if TWO
    var b2 = tile.up + min(o, last) * params.up_stride;
    var b3 = tile.up + min(o + 1u, last) * params.up_stride;
#else
    var b2 = block.z;
    var b3 = block.w;
#endif
    var sums = vec4<f32>();
    for (var b = params.n_in / BLOCK_LEN; b > 0u; b--) {
#if PLAIN
        let a = x8(at);
        at += 8u;
#if TWO
        sums += vec4<f32>(times(dequant(b0, 0u), a), times(dequant(b1, 0u), a),
            times(dequant_up(b2, 0u), a), times(dequant_up(b3, 0u), a));
#else
        sums += vec4<f32>(times(dequant(b0, 0u), a), times(dequant(b1, 0u), a),
            times(dequant(b2, 0u), a), times(dequant(b3, 0u), a));
#endif
#else
        for (var j = 0u; j < BLOCK_LEN / 32u; j++) {
            let r0 = unpack(b0, j);
            let r1 = unpack(b1, j);
#if TWO
            let r2 = unpack_up(b2, j);
            let r3 = unpack_up(b3, j);
#else
            let r2 = unpack(b2, j);
            let r3 = unpack(b3, j);
#endif
            for (var k = 0u; k < 4u; k++) {
                let a = x8(at);
                at += 8u;
                let total = dot(a.lo + a.hi, vec4<f32>(1.0));
                sums += vec4<f32>(part(r0, k, a, total), part(r1, k, a, total),
                    part(r2, k, a, total), part(r3, k, a, total));
            }
        }
#endif
        b0 += BLOCK_BYTES;
        b1 += BLOCK_BYTES;
        b2 += BLOCK_BYTES;
        b3 += BLOCK_BYTES;
    }
#if PLAIN
    for (var rest = params.n_in % BLOCK_LEN; rest > 0u; rest--) {
#if TWO
        sums += x[at] * vec4<f32>(decode(b0), decode(b1), decode_up(b2), decode_up(b3));
#else
        sums += x[at] * vec4<f32>(decode(b0), decode(b1), decode(b2), decode(b3));
#endif
        b0 += VALUE_BYTES;
        b1 += VALUE_BYTES;
        b2 += VALUE_BYTES;
        b3 += VALUE_BYTES;
        at += 1u;
    }
#endif
    return sums;
}

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let o = id.x * OUTS;
#if DOWN
    // One thread sums all picks of its row, so that the order of the sum is fixed.
    var sums = vec4<f32>();
    var any = false;
    for (var rank = 0u; rank < params.top_k; rank++) {
        let tile = tile_at(group.y, rank);
        if tile.w != NONE {
            let part = sums_of(tile, o);
            sums += vec4<f32>(scaled(tile, o, part.x), scaled(tile, o + 1u, part.y),
                scaled(tile, o + 2u, part.z), scaled(tile, o + 3u, part.w));
            any = true;
        }
    }
    let tile = Tile(0u, 0u, NONE, group.y, select(0u, 1u, any));
#else
    let tile = tile_at(group.y, 0u);
    if tile.w == NONE {
        return;
    }
    let sums = sums_of(tile, o);
#endif
#if TWO
    store(tile, 0u, o, sums.x, sums.z);
    store(tile, 0u, o + 1u, sums.y, sums.w);
#else
#if DOWN
    store(tile, 0u, o, sums.x, 0.0);
    store(tile, 0u, o + 1u, sums.y, 0.0);
    store(tile, 0u, o + 2u, sums.z, 0.0);
    store(tile, 0u, o + 3u, sums.w, 0.0);
#else
    store(tile, 0u, o, scaled(tile, o, sums.x), 0.0);
    store(tile, 0u, o + 1u, scaled(tile, o + 1u, sums.y), 0.0);
    store(tile, 0u, o + 2u, scaled(tile, o + 2u, sums.z), 0.0);
    store(tile, 0u, o + 3u, scaled(tile, o + 3u, sums.w), 0.0);
#endif
#endif
}
