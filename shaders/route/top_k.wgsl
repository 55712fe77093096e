// Route, after the router's product, one row a thread.

struct Params {
    rows: u32,
    n_experts: u32,
    top_k: u32,
    logits_base: u32,
    pick_base: u32,
    always: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> logits: array<u32>;

#import route/choose

var<private> start: u32;

fn logit_bits(e: u32) -> u32 {
    return logits[start + e];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= params.rows {
        return;
    }
    start = params.logits_base + row * params.n_experts;
    choose(params.pick_base + row * params.top_k, params.n_experts, params.top_k, params.always);
}
