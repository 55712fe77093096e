// AddRows, in place: x[r] += table[r % rows of the table], one value a thread.

struct Params {
    width: u32,
    x_base: u32,
    table_base: u32,
    // Rows of the table, and which of them the first row gets.
    table_rows: u32,
    first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read_write> x: array<f32>;
@group(1) @binding(1) var<storage, read> table: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    if id.x < params.width {
        let row = (params.first + group.y) % params.table_rows;
        x[params.x_base + group.y * params.width + id.x] += table[params.table_base + row * params.width + id.x];
    }
}
