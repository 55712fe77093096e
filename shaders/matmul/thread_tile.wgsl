// Up to eight rows, two outputs a thread (with TWO one of each matrix): prefill where lanes need not load together, rows of any length.
// A weight is expanded once for all rows, an activation loaded once for both outputs.
#import quant/values
#import common/weights
#import common/words
#import quant/{format}
#import matmul/params
#import matmul/x8

const TILE = 8u;
#import matmul/job

#if TWO
const OUTS = 1u;
#else
const OUTS = 2u;
#endif

#if PLAIN
#else
// Octet k of a run.
fn octet(run: Run, k: u32) -> Octet {
    let half = select(run.a, run.b, k >= 2u);
    let two = select(half.xy, half.zw, (k & 1u) == 1u);
    let f = select(vec2<f32>(run.scale.x, run.low.x), vec2<f32>(run.scale.y, run.low.y), k >= 2u);
    return Octet(i8x4(two.x) * f.x + f.y, i8x4(two.y) * f.x + f.y);
}
#endif

// Sums of the outputs of the first four rows and of the others. Named one by one: an array would live in memory.
var<private> p0: vec4<f32>;
var<private> p1: vec4<f32>;
var<private> q0: vec4<f32>;
var<private> q1: vec4<f32>;

fn both(v: Octet, u: Octet, at: u32) -> vec2<f32> {
    let a = x8(at);
    return vec2<f32>(dot(v.lo, a.lo) + dot(v.hi, a.hi), dot(u.lo, a.lo) + dot(u.hi, a.hi));
}

// Adds eight weights of each output, times the activations of all rows.
fn accumulate(v: Octet, u: Octet, a: vec4<u32>, b: vec4<u32>) {
    let s0 = both(v, u, a.x);
    let s1 = both(v, u, a.y);
    let s2 = both(v, u, a.z);
    let s3 = both(v, u, a.w);
    p0 += vec4<f32>(s0.x, s1.x, s2.x, s3.x);
    q0 += vec4<f32>(s0.y, s1.y, s2.y, s3.y);
    let s4 = both(v, u, b.x);
    let s5 = both(v, u, b.y);
    let s6 = both(v, u, b.z);
    let s7 = both(v, u, b.w);
    p1 += vec4<f32>(s4.x, s5.x, s6.x, s7.x);
    q1 += vec4<f32>(s4.y, s5.y, s6.y, s7.y);
}

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let o = id.x * OUTS;
    let last = params.n_out - 1u;
    let tile = tile_at(group.y, 0u);
    if tile.w == NONE {
        return;
    }
    var a = vec4<u32>(source(tile, 0u), source(tile, 1u), source(tile, 2u), source(tile, 3u));
    var b = vec4<u32>(source(tile, 4u), source(tile, 5u), source(tile, 6u), source(tile, 7u));
    var b0 = tile.w + min(o, last) * params.w_stride;
#if TWO
    var b1 = tile.up + min(o, last) * params.up_stride;
#else
    var b1 = tile.w + min(o + 1u, last) * params.w_stride;
#endif
    for (var n = params.n_in / BLOCK_LEN; n > 0u; n--) {
#if PLAIN
#if TWO
        accumulate(dequant(b0, 0u), dequant_up(b1, 0u), a, b);
#else
        accumulate(dequant(b0, 0u), dequant(b1, 0u), a, b);
#endif
        a += 8u;
        b += 8u;
#else
        for (var j = 0u; j < BLOCK_LEN / 32u; j++) {
            let r0 = unpack(b0, j);
#if TWO
            let r1 = unpack_up(b1, j);
#else
            let r1 = unpack(b1, j);
#endif
            for (var k = 0u; k < 4u; k++) {
                accumulate(octet(r0, k), octet(r1, k), a, b);
                a += 8u;
                b += 8u;
            }
        }
#endif
        b0 += BLOCK_BYTES;
        b1 += BLOCK_BYTES;
    }
#if PLAIN
    for (var rest = params.n_in % BLOCK_LEN; rest > 0u; rest--) {
        let xa = vec4<f32>(x[a.x], x[a.y], x[a.z], x[a.w]);
        let xb = vec4<f32>(x[b.x], x[b.y], x[b.z], x[b.w]);
        let v = decode(b0);
#if TWO
        let u = decode_up(b1);
#else
        let u = decode(b1);
#endif
        p0 += v * xa;
        p1 += v * xb;
        q0 += u * xa;
        q1 += u * xb;
        b0 += VALUE_BYTES;
        b1 += VALUE_BYTES;
        a += 1u;
        b += 1u;
    }
#endif
    for (var t = 0u; t < TILE; t++) {
        let p = select(p1[t & 3u], p0[t & 3u], t < 4u);
        let q = select(q1[t & 3u], q0[t & 3u], t < 4u);
#if TWO
        store(tile, t, o, p, q);
#else
        store(tile, t, o, scaled(tile, o, p), 0.0);
        store(tile, t, o + 1u, scaled(tile, o + 1u, q), 0.0);
#endif
    }
}
