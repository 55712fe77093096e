// QkPrepare, one head of one row a workgroup, in place: rotation, then norm, then temperature.
//
// APPEND: and KvAppend of the same row, of which keys and values are in `x` too. Keys are prepared heads, or heads like the
// values, with which further workgroups have nothing to do but to store them.
// EIGHT: without barriers and memory of the workgroup, which is eight lanes of a subgroup.
#import common/turn
#if APPEND
#import common/half
#endif
#if EIGHT
#import common/lanes
#endif

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
#if APPEND
    // The first prepared head that is a key; `heads` if keys are not prepared.
    first_key: u32,
    kv_heads: u32,
    // Where keys and values begin in `x`.
    k_base: u32,
    v_base: u32,
    block_tokens: u32,
    // Of the block.
    slot: u32,
#endif
}

#if EIGHT
const LANES = 8u;
#else
const LANES = 32u;
#endif

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read_write> x: array<f32>;
@group(1) @binding(1) var<storage, read> inv_freq: array<f32>;
// Position and temperature of each row, computed by the host: both are exact there.
@group(1) @binding(2) var<storage, read> row_facts: array<f32>;
#if APPEND
#if F16
@group(1) @binding(3) var<storage, read_write> block: array<u32>;
#else
@group(1) @binding(3) var<storage, read_write> block: array<f32>;
#endif

// Stores head `h` of the keys or of the values, which begins at `start` in `x`.
fn keep(lane: u32, start: u32, h: u32, values: bool) {
    let size = params.kv_heads * params.head_dim * params.block_tokens;
    let to = (h * params.block_tokens + params.slot) * params.head_dim + select(0u, size, values);
#if F16
    for (var i = 2u * lane; i < params.head_dim; i += 2u * LANES) {
        block[(to + i) / 2u] = f16_bits(x[start + i]) | (f16_bits(x[start + i + 1u]) << 16u);
    }
#else
    for (var i = lane; i < params.head_dim; i += LANES) {
        block[to + i] = x[start + i];
    }
#endif
}
#endif

#if EIGHT
#else
var<workgroup> sums: array<f32, LANES>;
#endif

// The two values of pair `j`. Values after the last pair do not turn.
fn pair_of(j: u32) -> vec2<u32> {
    let halves = params.halves != 0u && j < params.n_pairs;
    return select(vec2<u32>(2u * j, 2u * j + 1u), vec2<u32>(j, j + params.n_pairs), halves);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
#if EIGHT
    @builtin(subgroup_invocation_id) me: u32,
#else
    @builtin(local_invocation_index) lane: u32,
#endif
) {
#if EIGHT
    begin(me);
    let normed = params.normed + zero != 0u;
#else
    let normed = params.normed != 0u;
#endif
    let row = group.y;
#if APPEND
    if group.x >= params.heads {
        // Keys first, if none of them is prepared.
        var h = group.x - params.heads;
        let keys = select(0u, params.kv_heads, params.first_key == params.heads);
        let values = h >= keys;
        h -= select(0u, keys, values);
        keep(lane, select(params.k_base, params.v_base, values) + h * params.head_dim, h, values);
        return;
    }
#endif
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
#if EIGHT
    let total = sum_of_lanes(sum);
    if normed {
#else
    if normed {
        sums[lane] = sum;
        workgroupBarrier();
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            if lane < half {
                sums[lane] += sums[lane + half];
            }
            workgroupBarrier();
        }
        let total = sums[0];
#endif
        factor *= 1.0 / sqrt(total / f32(params.head_dim) + params.eps);
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
#if APPEND
    if group.x >= params.first_key {
        storageBarrier();
        workgroupBarrier();
        keep(lane, start, group.x - params.first_key, false);
    }
#endif
}
