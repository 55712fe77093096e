// RmsNorm on a driver that computes on the CPU, eight threads of one subgroup a row: no barrier, no memory of the workgroup,
// and rows and weights are bound as uniforms, as in `matmul/windows`.
#import common/lanes

// Bases count vectors of four; `out_base` and `width` values.
struct Params {
    width: u32,
    x_base: u32,
    out_base: u32,
    weight_base: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<uniform> x: array<vec4<f32>, 4096>;
@group(1) @binding(1) var<uniform> weight: array<vec4<f32>, 4096>;
@group(1) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) me: u32) {
    begin(me);
    let width = params.width + zero;
    let start = params.x_base + group.y * (width / 4u);
    var sums = vec4<f32>();
    for (var i = lane; i < width / 4u; i += 8u) {
        let v = x[start + i];
        sums = fma(v, v, sums);
    }
    let factor = 1.0 / sqrt(sum_of_lanes(dot(sums, vec4<f32>(1.0))) / f32(width) + params.eps);
    let to = params.out_base + group.y * width;
    for (var i = lane; i < width / 4u; i += 8u) {
        let v = x[start + i] * factor * weight[params.weight_base + i];
        out[to + 4u * i] = v.x;
        out[to + 4u * i + 1u] = v.y;
        out[to + 4u * i + 2u] = v.z;
        out[to + 4u * i + 3u] = v.w;
    }
}
