// ExpertFfn for many rows: sorts the picks by expert and cuts each expert's picks into tiles of at most `tile` rows.
// Writes the grids of the products too, so that no workgroup is dispatched for a tile that there is not. One workgroup.
// The order of an expert's picks may differ from run to run: nothing that is computed depends on it.
#import route/plan

// What a workgroup's memory holds by WebGPU's default limits, with room for the scan.
const MOST_EXPERTS = 1024u;
const LANES = 128u;

struct Params {
    n_picks: u32,
    n_experts: u32,
    tile: u32,
    // First pick in `ids`; where the sorted picks begin in `plan`.
    pick_base: u32,
    sorted_base: u32,
    // Grids, and the columns of each: its workgroups a tile.
    n_grids: u32,
    unused_0: u32,
    unused_1: u32,
    columns: array<vec4<u32>, PLAN_GRIDS / 4u>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> ids: array<u32>;
@group(1) @binding(1) var<storage, read_write> plan: array<u32>;

var<workgroup> counts: array<atomic<u32>, MOST_EXPERTS>;
// Picks and tiles before each lane's experts.
var<workgroup> before: array<vec2<u32>, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    let n_experts = min(params.n_experts, MOST_EXPERTS);
    for (var e = lane; e < n_experts; e += LANES) {
        atomicStore(&counts[e], 0u);
    }
    workgroupBarrier();
    for (var p = lane; p < params.n_picks; p += LANES) {
        let expert = ids[params.pick_base + p];
        if expert < n_experts {
            atomicAdd(&counts[expert], 1u);
        }
    }
    workgroupBarrier();
    // Each lane takes a run of experts.
    let each = (n_experts + LANES - 1u) / LANES;
    let begin = min(lane * each, n_experts);
    let to = min(begin + each, n_experts);
    var sum = vec2<u32>();
    for (var e = begin; e < to; e++) {
        let n = atomicLoad(&counts[e]);
        sum += vec2<u32>(n, (n + params.tile - 1u) / params.tile);
    }
    before[lane] = sum;
    workgroupBarrier();
    var at = vec2<u32>();
    for (var l = 0u; l < lane; l++) {
        at += before[l];
    }
    if lane == LANES - 1u {
        plan[0] = at.y + sum.y;
        for (var g = 0u; g < min(params.n_grids, PLAN_GRIDS); g++) {
            plan[4u + 3u * g] = params.columns[g / 4u][g % 4u];
            plan[5u + 3u * g] = at.y + sum.y;
            plan[6u + 3u * g] = 1u;
        }
    }
    for (var e = begin; e < to; e++) {
        let n = atomicLoad(&counts[e]);
        for (var first = 0u; first < n; first += params.tile) {
            let tile = PLAN_HEAD + 3u * at.y;
            plan[tile] = e;
            plan[tile + 1u] = at.x + first;
            plan[tile + 2u] = min(params.tile, n - first);
            at.y += 1u;
        }
        // From here on, where the next pick of this expert goes.
        atomicStore(&counts[e], at.x);
        at.x += n;
    }
    workgroupBarrier();
    for (var p = lane; p < params.n_picks; p += LANES) {
        let expert = ids[params.pick_base + p];
        if expert < n_experts {
            plan[params.sorted_base + atomicAdd(&counts[expert], 1u)] = p;
        }
    }
}
