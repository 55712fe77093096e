// Route for few rows and few experts, one row a workgroup: the router's product and the choice at once.
//
// Teams of lanes sum the logits of an expert each, eight weights a lane at a time and side by side.
#import quant/values
#import common/weights
#import common/words
#import quant/{format}

struct Params {
    n_in: u32,
    n_experts: u32,
    top_k: u32,
    x_base: u32,
    pick_base: u32,
    always: u32,
    w_base: u32,
    w_stride: u32,
}

const LANES = 256u;
const TEAM = 16u;
const TEAMS = LANES / TEAM;
// By `Kernel::ROUTE_EXPERTS`.
const MOST_EXPERTS = 32u;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(3) var<storage, read> x: array<f32>;

#import route/choose
#import matmul/x_dot

var<workgroup> sums: array<f32, MOST_EXPERTS * TEAM>;
var<workgroup> logits: array<f32, MOST_EXPERTS>;

fn logit_bits(e: u32) -> u32 {
    return bitcast<u32>(logits[e]);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = params.x_base + group.y * params.n_in;
    let n_experts = min(params.n_experts, MOST_EXPERTS);
    for (var e = lane / TEAM; e < n_experts; e += TEAMS) {
        var sum = 0.0;
        for (var i = 8u * (lane % TEAM); i < params.n_in; i += 8u * TEAM) {
            // Plain formats: eight values are a block.
            let block = params.w_base + e * params.w_stride + i / BLOCK_LEN * BLOCK_BYTES;
            sum += x_dot(dequant(block, i % BLOCK_LEN), start + i);
        }
        sums[e * TEAM + lane % TEAM] = sum;
    }
    workgroupBarrier();
    if lane < n_experts {
        var sum = 0.0;
        for (var i = 0u; i < TEAM; i++) {
            sum += sums[lane * TEAM + i];
        }
        logits[lane] = sum;
    }
    workgroupBarrier();
    if lane == 0u {
        choose(params.pick_base + group.y * params.top_k, n_experts, params.top_k, params.always);
    }
}
