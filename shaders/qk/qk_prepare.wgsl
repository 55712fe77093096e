// QkPrepare, one head of one row a thread, in place: rotation, then norm, then temperature.
#import common/turn

struct Params {
    rows: u32,
    heads: u32,
    head_dim: u32,
    x_base: u32,
    // Pairs that turn; 0 without rotary embedding.
    n_pairs: u32,
    freq_base: u32,
    // Pairs are (j, j + n_pairs) instead of (2j, 2j + 1).
    halves: u32,
    normed: u32,
    eps: f32,
    // Where the rows' positions and temperatures begin, two words a row.
    rows_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read_write> x: array<f32>;
@group(1) @binding(1) var<storage, read> inv_freq: array<f32>;
// Position and temperature of each row, computed by the host: both are exact there.
@group(1) @binding(2) var<storage, read> row_facts: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let head = id.x;
    let row = group.y;
    if head >= params.heads || row >= params.rows {
        return;
    }
    let start = params.x_base + (row * params.heads + head) * params.head_dim;
    let position = row_facts[params.rows_base + 2u * row];
    var factor = row_facts[params.rows_base + 2u * row + 1u];
    for (var j = 0u; j < params.n_pairs; j++) {
        let turned = sin_cos(position * inv_freq[params.freq_base + j]);
        let a = start + select(2u * j, j, params.halves != 0u);
        let b = select(a + 1u, a + params.n_pairs, params.halves != 0u);
        let u = x[a];
        let v = x[b];
        x[a] = u * turned.y - v * turned.x;
        x[b] = u * turned.x + v * turned.y;
    }
    if params.normed != 0u {
        var sum = 0.0;
        for (var i = 0u; i < params.head_dim; i++) {
            sum += x[start + i] * x[start + i];
        }
        factor *= 1.0 / sqrt(sum / f32(params.head_dim) + params.eps);
    }
    if factor != 1.0 {
        for (var i = 0u; i < params.head_dim; i++) {
            x[start + i] *= factor;
        }
    }
}
