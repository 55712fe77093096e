// Softmax attention for queries of one key/value head, whatever row and head of its group they come from. Eight queries
// belong to a slice of 32 threads; all slices of a workgroup share tiles of 32 keys, then of 32 values, in workgroup
// memory. Scores never leave it: the softmax runs along. 64 values of a head are in a tile at a time.
// Source: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022.
#import attend/params
#import attend/{source}

// A tile's row of words is turned by its key, so that neither a column nor a row of it meets in one memory bank.
fn place(key: u32, word: u32) -> u32 {
    return key * WORDS + (word ^ key);
}

var<workgroup> tile: array<Word, KEYS * WORDS>;
// For each value of a head: the queries 0 to 3 and 4 to 7 of each slice. Later the weights of a tile's keys.
var<workgroup> shared_q: array<vec4<f32>, SLICES * 4u * WORDS>;
var<workgroup> scores: array<vec4<f32>, SLICES * 2u * KEYS>;

// A number for each of the eight queries of a slice.
struct Eight {
    lo: vec4<f32>,
    hi: vec4<f32>,
}

// Sums for two neighbouring values of a head.
struct Pair {
    x: Eight,
    y: Eight,
}

fn query_row(query: vec4<u32>) -> vec4<u32> {
    return query / params.group;
}

// Where the values of queries begin in rows of all heads.
fn offsets(query: vec4<u32>, kv_head: u32) -> vec4<u32> {
    return query_row(query) * params.width + (kv_head * params.group + query % params.group) * params.head_dim;
}

fn load_queries(lo: vec4<u32>, hi: vec4<u32>, slice: u32, lane: u32, first: u32) {
    for (var i = lane; i < 2u * WORDS; i += KEYS) {
        var v = Eight();
        if first + i < params.head_dim {
            let a = lo + first + i;
            let b = hi + first + i;
            v.lo = vec4<f32>(q[a.x], q[a.y], q[a.z], q[a.w]);
            v.hi = vec4<f32>(q[b.x], q[b.y], q[b.z], q[b.w]);
        }
        let to = slice * 4u * WORDS + 2u * i;
        shared_q[to] = v.lo * params.scale;
        shared_q[to + 1u] = v.hi * params.scale;
    }
}

fn kept(at: u32) -> f32 {
    return out[at];
}

fn kept_pair(lo: vec4<u32>, hi: vec4<u32>, dim: u32) -> Pair {
    var pair = Pair();
    if params.carry != 0u && dim < params.head_dim {
        let a = lo + dim;
        let b = hi + dim;
        pair.x.lo = vec4<f32>(kept(a.x), kept(a.y), kept(a.z), kept(a.w));
        pair.x.hi = vec4<f32>(kept(b.x), kept(b.y), kept(b.z), kept(b.w));
        if dim + 1u < params.head_dim {
            pair.y.lo = vec4<f32>(kept(a.x + 1u), kept(a.y + 1u), kept(a.z + 1u), kept(a.w + 1u));
            pair.y.hi = vec4<f32>(kept(b.x + 1u), kept(b.y + 1u), kept(b.z + 1u), kept(b.w + 1u));
        }
    }
    return pair;
}

fn store(at: vec4<u32>, dim: u32, query: vec4<u32>, x: vec4<f32>, y: vec4<f32>) {
    for (var i = 0u; i < 4u; i++) {
        if query[i] < params.queries && dim < params.head_dim {
            out[at[i] + dim] = x[i];
            if dim + 1u < params.head_dim {
                out[at[i] + dim + 1u] = y[i];
            }
        }
    }
}

fn scaled(pair: Pair, by: Eight) -> Pair {
    return Pair(Eight(pair.x.lo * by.lo, pair.x.hi * by.hi), Eight(pair.y.lo * by.lo, pair.y.hi * by.hi));
}

// Adds the values of the tile in the tile's weights.
fn weigh(pair: Pair, slice: u32, lane: u32, count: u32) -> Pair {
    var sums = pair;
    for (var key = 0u; key < count; key++) {
        let v = values_of(tile[place(key, lane)]);
        let lo = shared_q[slice * 4u * WORDS + 2u * key];
        let hi = shared_q[slice * 4u * WORDS + 2u * key + 1u];
        sums.x.lo += lo * v.x;
        sums.x.hi += hi * v.x;
        sums.y.lo += lo * v.y;
        sums.y.hi += hi * v.y;
    }
    return sums;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let lane = t % KEYS;
    let slice = t / KEYS;
    // Of heads longer than 128, each workgroup sums 128 values.
    let pass_ = group.x % params.passes;
    let kv_head = group.y % params.kv_heads;
    let part = group.y / params.kv_heads;
    let first_query = group.x / params.passes * 8u * SLICES;
    let last_query = min(first_query + 8u * SLICES, params.queries) - 1u;

    // Slots without a query compute the last one again and store nothing.
    let query_lo = first_query + slice * 8u + vec4<u32>(0u, 1u, 2u, 3u);
    let query_hi = query_lo + 4u;
    let real_lo = min(query_lo, vec4<u32>(last_query));
    let real_hi = min(query_hi, vec4<u32>(last_query));
    let q_lo = params.q_base + offset_of(part) + offsets(real_lo, kv_head);
    let q_hi = params.q_base + offset_of(part) + offsets(real_hi, kv_head);
    let out_lo = params.out_base + part * params.part_stride + offsets(real_lo, kv_head);
    let out_hi = params.out_base + part * params.part_stride + offsets(real_hi, kv_head);
    let sees_lo = sight(query_row(real_lo));
    let sees_hi = sight(query_row(real_hi));
    let state_lo = state_of(part, real_lo, kv_head, pass_);
    let state_hi = state_of(part, real_hi, kv_head, pass_);

    let dim_a = pass_ * 4u * WORDS + 2u * lane;
    let dim_b = dim_a + 2u * WORDS;
    var a = kept_pair(out_lo, out_hi, dim_a);
    var b = kept_pair(out_lo, out_hi, dim_b);
    var highest = Eight(vec4<f32>(LOWEST), vec4<f32>(LOWEST));
    var total = Eight();
    if params.carry != 0u {
        for (var i = 0u; i < 4u; i++) {
            highest.lo[i] = state[state_lo[i]].x;
            total.lo[i] = state[state_lo[i]].y;
            highest.hi[i] = state[state_hi[i]].x;
            total.hi[i] = state[state_hi[i]].y;
        }
    }

    let range = tiles_of(part);
    for (var n = range.x; n < range.y; n++) {
        let keys = tile_keys(n);
        if !seen(keys, first_query / params.group, last_query / params.group) {
            continue;
        }
        var score = Eight();
        for (var first = 0u; first < params.head_dim; first += 2u * WORDS) {
            workgroupBarrier();
            load_queries(q_lo, q_hi, slice, lane, first);
            load_tile(0u, keys, kv_head, part, first, t);
            workgroupBarrier();
            let words = min(WORDS, (params.head_dim - first + 1u) / 2u);
            for (var w = 0u; w < words; w++) {
                let k = values_of(tile[place(lane, w)]);
                let at = slice * 4u * WORDS + 4u * w;
                score.lo += k.x * shared_q[at] + k.y * shared_q[at + 2u];
                score.hi += k.x * shared_q[at + 1u] + k.y * shared_q[at + 3u];
            }
        }
        let visible_lo = visible(keys, lane, sees_lo);
        let visible_hi = visible(keys, lane, sees_hi);
        score.lo = select(vec4<f32>(LOWEST), score.lo, visible_lo);
        score.hi = select(vec4<f32>(LOWEST), score.hi, visible_hi);
        scores[slice * 2u * KEYS + 2u * lane] = score.lo;
        scores[slice * 2u * KEYS + 2u * lane + 1u] = score.hi;
        workgroupBarrier();

        var peak = highest;
        for (var key = 0u; key < keys.count; key++) {
            peak.lo = max(peak.lo, scores[slice * 2u * KEYS + 2u * key]);
            peak.hi = max(peak.hi, scores[slice * 2u * KEYS + 2u * key + 1u]);
        }
        let keep = Eight(exp(highest.lo - peak.lo), exp(highest.hi - peak.hi));
        highest = peak;
        // All lanes have read the queries.
        let to = slice * 4u * WORDS + 2u * lane;
        shared_q[to] = select(vec4<f32>(), exp(score.lo - peak.lo), visible_lo);
        shared_q[to + 1u] = select(vec4<f32>(), exp(score.hi - peak.hi), visible_hi);
        load_tile(1u, keys, kv_head, part, pass_ * 4u * WORDS, t);
        workgroupBarrier();
        total.lo *= keep.lo;
        total.hi *= keep.hi;
        for (var key = 0u; key < keys.count; key++) {
            total.lo += shared_q[slice * 4u * WORDS + 2u * key];
            total.hi += shared_q[slice * 4u * WORDS + 2u * key + 1u];
        }
        a = weigh(scaled(a, keep), slice, lane, keys.count);
        if pass_ * 4u * WORDS + 2u * WORDS < params.head_dim {
            workgroupBarrier();
            load_tile(1u, keys, kv_head, part, pass_ * 4u * WORDS + 2u * WORDS, t);
            workgroupBarrier();
            b = weigh(scaled(b, keep), slice, lane, keys.count);
        }
    }

    if params.finish != 0u {
        let share = Eight(1.0 / total.lo, 1.0 / total.hi);
        a = scaled(a, share);
        b = scaled(b, share);
    } else if lane == 0u {
        for (var i = 0u; i < 4u; i++) {
            if query_lo[i] < params.queries {
                state[state_lo[i]] = vec2<f32>(highest.lo[i], total.lo[i]);
            }
            if query_hi[i] < params.queries {
                state[state_hi[i]] = vec2<f32>(highest.hi[i], total.hi[i]);
            }
        }
    }
    store(out_lo, dim_a, query_lo, a.x.lo, a.y.lo);
    store(out_hi, dim_a, query_hi, a.x.hi, a.y.hi);
    store(out_lo, dim_b, query_lo, b.x.lo, b.y.lo);
    store(out_hi, dim_b, query_hi, b.x.hi, b.y.hi);
}
