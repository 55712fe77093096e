// ExpertFfn with several picks a row, last step: adds the picks' rows to their row of `out`, in order of rank.

struct Params {
    rows: u32,
    width: u32,
    top_k: u32,
    parts_base: u32,
    out_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> parts: array<f32>;
@group(1) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.width || id.y >= params.rows {
        return;
    }
    var sum = 0.0;
    for (var rank = 0u; rank < params.top_k; rank++) {
        sum += parts[params.parts_base + (id.y * params.top_k + rank) * params.width + id.x];
    }
    out[params.out_base + id.y * params.width + id.x] += sum;
}
