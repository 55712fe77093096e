// QkPrepare, one head of one row a workgroup, in place: rotation, then norm, then temperature.
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

const LANES = 32u;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read_write> x: array<f32>;
@group(1) @binding(1) var<storage, read> inv_freq: array<f32>;
// Position and temperature of each row, computed by the host: both are exact there.
@group(1) @binding(2) var<storage, read> row_facts: array<f32>;

var<workgroup> sums: array<f32, LANES>;

// The two values of pair `j`. Values after the last pair do not turn.
fn pair_of(j: u32) -> vec2<u32> {
    let halves = params.halves != 0u && j < params.n_pairs;
    return select(vec2<u32>(2u * j, 2u * j + 1u), vec2<u32>(j, j + params.n_pairs), halves);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y;
    let start = params.x_base + (row * params.heads + group.x) * params.head_dim;
    let position = row_facts[params.rows_base + 2u * row];
    var factor = row_facts[params.rows_base + 2u * row + 1u];
    // Each thread keeps to its pairs, so that none reads what another writes.
    let all = (params.head_dim + 1u) / 2u;
    var sum = 0.0;
    for (var j = lane; j < all; j += LANES) {
        let at = pair_of(j);
        let u = x[start + at.x];
        let two = at.y < params.head_dim;
        let v = select(0.0, x[start + min(at.y, params.head_dim - 1u)], two);
        var turned = vec2<f32>(0.0, 1.0);
        if j < params.n_pairs {
            turned = sin_cos(position * inv_freq[params.freq_base + j]);
        }
        let a = u * turned.y - v * turned.x;
        let b = u * turned.x + v * turned.y;
        sum += a * a + b * b;
        x[start + at.x] = a;
        if two {
            x[start + at.y] = b;
        }
    }
    if params.normed != 0u {
        sums[lane] = sum;
        workgroupBarrier();
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            if lane < half {
                sums[lane] += sums[lane + half];
            }
            workgroupBarrier();
        }
        factor *= 1.0 / sqrt(sums[0] / f32(params.head_dim) + params.eps);
    }
    if factor != 1.0 {
        for (var j = lane; j < all; j += LANES) {
            let at = pair_of(j);
            x[start + at.x] *= factor;
            if at.y < params.head_dim {
                x[start + at.y] *= factor;
            }
        }
    }
}
