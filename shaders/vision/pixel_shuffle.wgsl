// PixelShuffle, one value a thread: rows of factor^2 neighbouring patches become one.

struct Params {
    width: u32,
    x_base: u32,
    out_base: u32,
    grid: u32,
    factor: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;
@group(1) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let out_width = params.width * params.factor * params.factor;
    if id.x >= out_width {
        return;
    }
    let side = params.grid / params.factor;
    let token = group.y % (side * side);
    let part = id.x / params.width;
    let y = params.factor * (token / side) + part / params.factor;
    let column = params.factor * (token % side) + part % params.factor;
    let row = group.y / (side * side) * (params.grid * params.grid + 1u) + y * params.grid + column;
    let value = x[params.x_base + row * params.width + id.x % params.width];
    out[params.out_base + group.y * out_width + id.x] = value;
}
