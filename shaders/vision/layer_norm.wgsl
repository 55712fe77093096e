// LayerNorm, one workgroup a row: out = (x - mean) / sqrt(variance + eps) * weight + bias.

struct Params {
    width: u32,
    x_base: u32,
    out_base: u32,
    weight_base: u32,
    bias_base: u32,
    eps: f32,
}

#if WIDE
const LANES = 256u;
#else
const LANES = 64u;
#endif

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(1) var<storage, read> weight: array<f32>;
@group(1) @binding(2) var<storage, read> bias: array<f32>;
@group(1) @binding(3) var<storage, read_write> out: array<f32>;

var<workgroup> sums: array<f32, LANES>;

// The sum of what all lanes give. Every lane gets it.
fn total(value: f32, lane: u32) -> f32 {
    workgroupBarrier();
    sums[lane] = value;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            sums[lane] += sums[lane + half];
        }
        workgroupBarrier();
    }
    return sums[0];
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = params.x_base + group.y * params.width;
    var sum = 0.0;
    for (var i = lane; i < params.width; i += LANES) {
        sum += x[start + i];
    }
    let mean = total(sum, lane) / f32(params.width);
    // From the mean, not from the sum of squares, which would cancel.
    var squares = 0.0;
    for (var i = lane; i < params.width; i += LANES) {
        let d = x[start + i] - mean;
        squares += d * d;
    }
    let factor = 1.0 / sqrt(total(squares, lane) / f32(params.width) + params.eps);
    let to = params.out_base + group.y * params.width;
    for (var i = lane; i < params.width; i += LANES) {
        out[to + i] = (x[start + i] - mean) * factor * weight[params.weight_base + i] + bias[params.bias_base + i];
    }
}
