// Gelu with the error function, in place, one value a thread.

struct Params {
    len: u32,
    x_base: u32,
    // Threads in each row of the grid.
    span: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read_write> x: array<f32>;

// max(v, 0) - |v| / 2 * erfc(|v| / sqrt(2)): nothing cancels on either side of zero.
// erfc(z) = (a1 t + … + a5 t^5) exp(-z^2) with t = 1 / (1 + p z), off by 1.5e-7 at most: Abramowitz and Stegun,
// Handbook of Mathematical Functions, 7.1.26.
fn gelu(v: f32) -> f32 {
    // Beyond 14, erfc vanishes and exp(-z^2) might be flushed in ways that differ.
    let size = abs(v);
    let z = min(size, 14.0) * 0.70710678;
    let t = 1.0 / (1.0 + 0.3275911 * z);
    let p = ((((1.0614054 * t - 1.4531521) * t + 1.4214138) * t - 0.28449674) * t + 0.25482960) * t;
    return max(v, 0.0) - 0.5 * min(size, 14.0) * p * exp(-z * z);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.y * params.span + id.x;
    if id.x < params.span && i < params.len {
        x[params.x_base + i] = gelu(x[params.x_base + i]);
    }
}
