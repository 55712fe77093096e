// Route, after the router's product, one row a thread: the experts with the largest logits and the sigmoids of these.
#import common/float

struct Params {
    rows: u32,
    n_experts: u32,
    top_k: u32,
    logits_base: u32,
    pick_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> logits: array<u32>;
@group(1) @binding(1) var<storage, read_write> ids: array<u32>;
@group(1) @binding(2) var<storage, read_write> scores: array<f32>;

const MINUS_INFINITY = 0xff800000u;

// NaN counts as minus infinity, and minus zero as zero. In bits, as a shader may assume that there are no NaNs.
fn sane(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u {
        return MINUS_INFINITY;
    }
    return select(bits, 0u, magnitude == 0u);
}

// An unsigned number that orders as the float does.
fn rank_of(bits: u32) -> u32 {
    return select(bits | 0x80000000u, ~bits, bits >> 31u == 1u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= params.rows {
        return;
    }
    let start = params.logits_base + row * params.n_experts;
    let to = params.pick_base + row * params.top_k;
    // Experts already taken are those that rank above the last one taken, or level with it and not after it.
    var last_rank = 0xffffffffu;
    var last = 0u;
    for (var j = 0u; j < params.top_k; j++) {
        var best = 0u;
        var best_rank = 0u;
        for (var e = 0u; e < params.n_experts; e++) {
            let rank = rank_of(sane(logits[start + e]));
            let free = rank < last_rank || (rank == last_rank && e > last);
            if free && rank > best_rank {
                best = e;
                best_rank = rank;
            }
        }
        ids[to + j] = best;
        scores[to + j] = sigmoid(bitcast<f32>(sane(logits[start + best])));
        last = best;
        last_rank = best_rank;
    }
}
