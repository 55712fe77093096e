// Softmax attention on a driver that computes on the CPU: no barrier and no memory of the workgroup, which cost such a
// driver more than all products do. A thread owns a query, whatever row and head of its group it comes from; eight threads
// of one subgroup load eight values each of a key or a value and hand them to each other. Four keys are weighed at once.
// WIDE: heads of up to 128 values, otherwise of up to 64.
// Source: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
#import attend/params
#import attend/lanes_cache

// What a lane loads: eight consecutive values.
struct Octet {
    lo: vec4<f32>,
    hi: vec4<f32>,
}

// 64 values; `l2` and `h2` are those that lane 2 loads. Named one by one: an array would live in memory.
struct Piece {
    l0: vec4<f32>, h0: vec4<f32>, l1: vec4<f32>, h1: vec4<f32>,
    l2: vec4<f32>, h2: vec4<f32>, l3: vec4<f32>, h3: vec4<f32>,
    l4: vec4<f32>, h4: vec4<f32>, l5: vec4<f32>, h5: vec4<f32>,
    l6: vec4<f32>, h6: vec4<f32>, l7: vec4<f32>, h7: vec4<f32>,
}

// Index in its subgroup, of eight lanes that load together.
var<private> lane: u32;

fn value(kind: u32, begin: u32, dim: u32) -> vec4<f32> {
    var v = vec4<f32>();
    for (var i = 0u; i < 4u; i++) {
        if dim + i < params.head_dim {
            v[i] = select(q[begin + dim + i], out[begin + dim + i], kind == 1u);
        }
    }
    return v;
}

// 64 values from `first` on of the query (kind 0) or of the sums (kind 1) that begin at `begin`; 0 beyond the head.
fn piece(kind: u32, begin: u32, first: u32) -> Piece {
    return Piece(
        value(kind, begin, first), value(kind, begin, first + 4u),
        value(kind, begin, first + 8u), value(kind, begin, first + 12u),
        value(kind, begin, first + 16u), value(kind, begin, first + 20u),
        value(kind, begin, first + 24u), value(kind, begin, first + 28u),
        value(kind, begin, first + 32u), value(kind, begin, first + 36u),
        value(kind, begin, first + 40u), value(kind, begin, first + 44u),
        value(kind, begin, first + 48u), value(kind, begin, first + 52u),
        value(kind, begin, first + 56u), value(kind, begin, first + 60u));
}

fn along(a: Piece, k: Octet) -> f32 {
    var s = a.l0 * subgroupBroadcast(k.lo, 0u);
    var t = a.h0 * subgroupBroadcast(k.hi, 0u);
    s = fma(a.l1, subgroupBroadcast(k.lo, 1u), s);
    t = fma(a.h1, subgroupBroadcast(k.hi, 1u), t);
    s = fma(a.l2, subgroupBroadcast(k.lo, 2u), s);
    t = fma(a.h2, subgroupBroadcast(k.hi, 2u), t);
    s = fma(a.l3, subgroupBroadcast(k.lo, 3u), s);
    t = fma(a.h3, subgroupBroadcast(k.hi, 3u), t);
    s = fma(a.l4, subgroupBroadcast(k.lo, 4u), s);
    t = fma(a.h4, subgroupBroadcast(k.hi, 4u), t);
    s = fma(a.l5, subgroupBroadcast(k.lo, 5u), s);
    t = fma(a.h5, subgroupBroadcast(k.hi, 5u), t);
    s = fma(a.l6, subgroupBroadcast(k.lo, 6u), s);
    t = fma(a.h6, subgroupBroadcast(k.hi, 6u), t);
    s = fma(a.l7, subgroupBroadcast(k.lo, 7u), s);
    t = fma(a.h7, subgroupBroadcast(k.hi, 7u), t);
    return dot(s + t, vec4<f32>(1.0));
}

fn times(a: Piece, by: f32) -> Piece {
    return Piece(a.l0 * by, a.h0 * by, a.l1 * by, a.h1 * by, a.l2 * by, a.h2 * by, a.l3 * by, a.h3 * by,
        a.l4 * by, a.h4 * by, a.l5 * by, a.h5 * by, a.l6 * by, a.h6 * by, a.l7 * by, a.h7 * by);
}

fn plus(a: Piece, v: Octet, by: f32) -> Piece {
    let w = vec4<f32>(by);
    return Piece(
        fma(w, subgroupBroadcast(v.lo, 0u), a.l0), fma(w, subgroupBroadcast(v.hi, 0u), a.h0),
        fma(w, subgroupBroadcast(v.lo, 1u), a.l1), fma(w, subgroupBroadcast(v.hi, 1u), a.h1),
        fma(w, subgroupBroadcast(v.lo, 2u), a.l2), fma(w, subgroupBroadcast(v.hi, 2u), a.h2),
        fma(w, subgroupBroadcast(v.lo, 3u), a.l3), fma(w, subgroupBroadcast(v.hi, 3u), a.h3),
        fma(w, subgroupBroadcast(v.lo, 4u), a.l4), fma(w, subgroupBroadcast(v.hi, 4u), a.h4),
        fma(w, subgroupBroadcast(v.lo, 5u), a.l5), fma(w, subgroupBroadcast(v.hi, 5u), a.h5),
        fma(w, subgroupBroadcast(v.lo, 6u), a.l6), fma(w, subgroupBroadcast(v.hi, 6u), a.h6),
        fma(w, subgroupBroadcast(v.lo, 7u), a.l7), fma(w, subgroupBroadcast(v.hi, 7u), a.h7));
}

fn put(to: u32, dim: u32, v: vec4<f32>) {
    for (var i = 0u; i < 4u; i++) {
        if dim + i < params.head_dim {
            out[to + dim + i] = v[i];
        }
    }
}

fn put_piece(to: u32, first: u32, a: Piece) {
    put(to, first, a.l0);
    put(to, first + 4u, a.h0);
    put(to, first + 8u, a.l1);
    put(to, first + 12u, a.h1);
    put(to, first + 16u, a.l2);
    put(to, first + 20u, a.h2);
    put(to, first + 24u, a.l3);
    put(to, first + 28u, a.h3);
    put(to, first + 32u, a.l4);
    put(to, first + 36u, a.h4);
    put(to, first + 40u, a.l5);
    put(to, first + 44u, a.h5);
    put(to, first + 48u, a.l6);
    put(to, first + 52u, a.h6);
    put(to, first + 56u, a.l7);
    put(to, first + 60u, a.h7);
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) t: u32,
    @builtin(subgroup_invocation_id) me: u32,
) {
    lane = me & 7u;
    let kv_head = group.y;
    let first_query = group.x * 8u;
    let last_query = min(first_query + 8u, params.queries) - 1u;
    // Threads without a query compute the last one again and store nothing.
    let query = min(first_query + t, last_query);
    let row = query / params.group;
    let head = kv_head * params.group + query % params.group;
    let at = row * params.width + head * params.head_dim;
    let begin = params.q_base + at;
    let to = params.out_base + at;
    let kept = row * params.group * params.kv_heads + head;

    let qa = times(piece(0u, begin, 0u), params.scale);
    var a = Piece();
#if WIDE
    let qb = times(piece(0u, begin, 64u), params.scale);
    var b = Piece();
#endif
    var highest = LOWEST;
    var total = 0.0;
    if params.carry != 0u {
        highest = state[kept].x;
        total = state[kept].y;
        a = piece(1u, to, 0u);
#if WIDE
        b = piece(1u, to, 64u);
#endif
    }

    let range = keys_of(first_query / params.group, last_query / params.group);
    let last = vec4<u32>(range.y - 1u);
    for (var slot = range.x; slot < range.y; slot += 4u) {
        let slots = vec4<u32>(slot, slot + 1u, slot + 2u, slot + 3u);
        let seen = visible(slots, row) & (slots <= last);
        let held = min(slots, last);
        var score = vec4<f32>(
            along(qa, octet(0u, held.x, kv_head, 8u * lane)),
            along(qa, octet(0u, held.y, kv_head, 8u * lane)),
            along(qa, octet(0u, held.z, kv_head, 8u * lane)),
            along(qa, octet(0u, held.w, kv_head, 8u * lane)));
#if WIDE
        score += vec4<f32>(
            along(qb, octet(0u, held.x, kv_head, 64u + 8u * lane)),
            along(qb, octet(0u, held.y, kv_head, 64u + 8u * lane)),
            along(qb, octet(0u, held.z, kv_head, 64u + 8u * lane)),
            along(qb, octet(0u, held.w, kv_head, 64u + 8u * lane)));
#endif
        score = select(vec4<f32>(LOWEST), score, seen);
        let peak = max(max(max(score.x, score.y), max(score.z, score.w)), highest);
        let keep = exp(highest - peak);
        let weight = select(vec4<f32>(), exp(score - peak), seen);
        highest = peak;
        total = total * keep + dot(weight, vec4<f32>(1.0));
        a = times(a, keep);
        a = plus(a, octet(1u, held.x, kv_head, 8u * lane), weight.x);
        a = plus(a, octet(1u, held.y, kv_head, 8u * lane), weight.y);
        a = plus(a, octet(1u, held.z, kv_head, 8u * lane), weight.z);
        a = plus(a, octet(1u, held.w, kv_head, 8u * lane), weight.w);
#if WIDE
        b = times(b, keep);
        b = plus(b, octet(1u, held.x, kv_head, 64u + 8u * lane), weight.x);
        b = plus(b, octet(1u, held.y, kv_head, 64u + 8u * lane), weight.y);
        b = plus(b, octet(1u, held.z, kv_head, 64u + 8u * lane), weight.z);
        b = plus(b, octet(1u, held.w, kv_head, 64u + 8u * lane), weight.w);
#endif
    }

    if first_query + t > last_query {
        return;
    }
    if params.finish != 0u {
        a = times(a, 1.0 / total);
#if WIDE
        b = times(b, 1.0 / total);
#endif
    } else {
        state[kept] = vec2<f32>(highest, total);
    }
    put_piece(to, 0u, a);
#if WIDE
    put_piece(to, 64u, b);
#endif
}
