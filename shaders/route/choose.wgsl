// The choice of a router: the experts with the largest logits and the sigmoids of these. The file that imports this gives
// `logit_bits(e)`, the bits of logit number e of the row.
#import common/float

@group(1) @binding(1) var<storage, read_write> ids: array<u32>;
@group(1) @binding(2) var<storage, read_write> scores: array<f32>;

const MINUS_INFINITY = 0xff800000u;
const NONE = 0xffffffffu;

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

// Writes `top_k` picks from element `to` on. With `always` the last of them is that expert.
fn choose(to: u32, n_experts: u32, top_k: u32, always: u32) {
    var chosen = top_k;
    if always != NONE {
        chosen -= 1u;
        ids[to + chosen] = always;
        scores[to + chosen] = 1.0;
    }
    // Experts already taken are those that rank above the last one taken, or level with it and not after it.
    var last_rank = 0xffffffffu;
    var last = 0u;
    for (var j = 0u; j < chosen; j++) {
        var best = 0u;
        var best_rank = 0u;
        for (var e = 0u; e < n_experts; e++) {
            let rank = rank_of(sane(logit_bits(e)));
            let free = rank < last_rank || (rank == last_rank && e > last);
            if free && rank > best_rank {
                best = e;
                best_rank = rank;
            }
        }
        ids[to + j] = best;
        scores[to + j] = sigmoid(bitcast<f32>(sane(logit_bits(best))));
        last = best;
        last_rank = best_rank;
    }
}
