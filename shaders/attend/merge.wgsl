// Attend, after its parts: joins what the parts of the keys gave for one head of one row.

#import attend/params

const LANES = 64u;
// As many parts as there are at most.
const PARTS = 64u;

@group(1) @binding(0) var<storage, read> sums: array<f32>;
@group(1) @binding(1) var<storage, read> state: array<vec2<f32>>;
@group(1) @binding(2) var<storage, read_write> out: array<f32>;

var<workgroup> weights: array<f32, PARTS>;
var<workgroup> share: array<f32, PARTS>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let heads = params.group * params.kv_heads;
    let at = group.y * heads + group.x;
    if t < params.parts {
        let s = state[t * params.passes * (params.queries / params.group) * heads + at];
        weights[t] = s.x;
        share[t] = s.y;
    }
    workgroupBarrier();
    var highest = LOWEST;
    for (var i = 0u; i < params.parts; i++) {
        highest = max(highest, weights[i]);
    }
    var total = 0.0;
    for (var i = 0u; i < params.parts; i++) {
        total += share[i] * exp(weights[i] - highest);
    }
    workgroupBarrier();
    if t < params.parts {
        weights[t] = exp(weights[t] - highest) / total;
    }
    workgroupBarrier();
    for (var dim = t; dim < params.head_dim; dim += LANES) {
        var sum = 0.0;
        for (var i = 0u; i < params.parts; i++) {
            sum += weights[i] * sums[i * params.part_stride + at * params.head_dim + dim];
        }
        out[params.out_base + at * params.head_dim + dim] = sum;
    }
}
