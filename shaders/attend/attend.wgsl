// Attend over one block, one head of one row a thread: online softmax, TILE keys at a time.
// A row's running maximum and sum stay in `state` between blocks, its weighted values in `out`; the last block divides.
// Source: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.

struct Params {
    rows: u32,
    heads: u32,
    // Query heads that share a key/value head.
    group: u32,
    kv_heads: u32,
    head_dim: u32,
    block_tokens: u32,
    q_base: u32,
    out_base: u32,
    scale: f32,
    // Positions relative to the start of the window of row 0: of row 0, and of the block's first slot.
    pos: i32,
    block_pos: i32,
    // Size of the chunks; 0 when all earlier positions are visible.
    chunk: i32,
    is_first: u32,
    is_last: u32,
}

const TILE = 32u;
const LOWEST = -3.4028234e38;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> q: array<f32>;
@group(1) @binding(1) var<storage, read_write> out: array<f32>;
@group(1) @binding(2) var<storage, read_write> state: array<vec2<f32>>;
#if F16
@group(1) @binding(3) var<storage, read> kv: array<u32>;

fn kv_at(i: u32) -> f32 {
    return unpack2x16float(kv[i >> 1u] >> ((i & 1u) * 16u)).x;
}
#else
@group(1) @binding(3) var<storage, read> kv: array<f32>;

fn kv_at(i: u32) -> f32 {
    return kv[i];
}
#endif

#if ODD
#else
// Elements i and i + 1, i even.
fn kv_pair(i: u32) -> vec2<f32> {
#if F16
    return unpack2x16float(kv[i >> 1u]);
#else
    return vec2<f32>(kv[i], kv[i + 1u]);
#endif
}
#endif

fn query_dot(query: u32, key: u32) -> f32 {
#if ODD
    var sum = 0.0;
    for (var i = 0u; i < params.head_dim; i++) {
        sum += q[query + i] * kv_at(key + i);
    }
    return sum;
#else
    var sums = vec2<f32>();
    for (var i = 0u; i < params.head_dim; i += 2u) {
        sums += vec2<f32>(q[query + i], q[query + i + 1u]) * kv_pair(key + i);
    }
    return sums.x + sums.y;
#endif
}

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let head = id.x;
    let row = group.y;
    if head >= params.heads || row >= params.rows {
        return;
    }
    let at = row * params.heads + head;
    let query = params.q_base + at * params.head_dim;
    let to = params.out_base + at * params.head_dim;
    // (running maximum, sum of weights)
    var so_far = vec2<f32>(LOWEST, 0.0);
    if params.is_first != 0u {
        for (var i = 0u; i < params.head_dim; i++) {
            out[to + i] = 0.0;
        }
    } else {
        so_far = state[at];
    }

    // Visible slots of this block: first .. end.
    let p = params.pos + i32(row);
    var start = 0;
    if params.chunk != 0 {
        start = p - p % params.chunk;
    }
    let first = u32(max(start - params.block_pos, 0));
    let end = u32(clamp(p + 1 - params.block_pos, 0, i32(params.block_tokens)));
    let keys = (head / params.group) * params.block_tokens * params.head_dim;
    let values = keys + params.kv_heads * params.block_tokens * params.head_dim;
    for (var slot = first; slot < end; slot += TILE) {
        let count = min(TILE, end - slot);
        var weights: array<f32, TILE>;
        var highest = so_far.x;
        for (var s = 0u; s < count; s++) {
            weights[s] = query_dot(query, keys + (slot + s) * params.head_dim) * params.scale;
            highest = max(highest, weights[s]);
        }
        let keep = exp(so_far.x - highest);
        var total = so_far.y * keep;
        for (var s = 0u; s < count; s++) {
            weights[s] = exp(weights[s] - highest);
            total += weights[s];
        }
        so_far = vec2<f32>(highest, total);
        for (var i = 0u; i < params.head_dim; i++) {
            var sum = out[to + i] * keep;
            for (var s = 0u; s < count; s++) {
                sum += weights[s] * kv_at(values + (slot + s) * params.head_dim + i);
            }
            out[to + i] = sum;
        }
    }

    if params.is_last != 0u {
        for (var i = 0u; i < params.head_dim; i++) {
            out[to + i] /= so_far.y;
        }
    } else {
        state[at] = so_far;
    }
}
