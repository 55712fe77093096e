// CopyRows that adds: to += from, over whole rows that follow one another.

struct Params {
    len: u32,
    from_base: u32,
    to_base: u32,
    // Elements that one y of the grid covers.
    span: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> source: array<f32>;
@group(1) @binding(1) var<storage, read_write> to: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.y * params.span + id.x;
    if id.x >= params.span || i >= params.len {
        return;
    }
    to[params.to_base + i] += source[params.from_base + i];
}
