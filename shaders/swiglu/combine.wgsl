// SwiGlu, after both products: gate = silu(gate) * up, over whole rows that follow one another.
#import common/float

struct Params {
    len: u32,
    up_base: u32,
    gate_base: u32,
    // Elements that one y of the grid covers.
    span: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> up: array<f32>;
@group(1) @binding(1) var<storage, read_write> gate: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.y * params.span + id.x;
    if id.x >= params.span || i >= params.len {
        return;
    }
    let a = gate[params.gate_base + i];
    gate[params.gate_base + i] = a * sigmoid(a) * up[params.up_base + i];
}
