// MatMul, one output of TILE rows a thread: prefill. A block is dequantised once for all rows of the tile.
#import matmul/params
#import common/words
#import quant/{format}
#import matmul/x_dot

const TILE = 8u;

@group(1) @binding(4) var<storage, read> bias: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let o = id.x;
    let first = group.y * TILE;
    if o >= params.n_out || first >= params.rows {
        return;
    }
    // Rows past the end compute the last row again and store nothing.
    let last = vec4<u32>(params.rows - 1u);
    let rows = first + vec4<u32>(0u, 1u, 2u, 3u);
    var at_a = params.x_base + min(rows, last) * params.x_stride;
    var at_b = params.x_base + min(rows + 4u, last) * params.x_stride;
    var sums_a = vec4<f32>();
    var sums_b = vec4<f32>();
    var block = params.w_base + o * params.w_stride;
    for (var b = params.n_in / BLOCK_LEN; b > 0u; b--) {
        for (var e = 0u; e < BLOCK_LEN; e += 8u) {
            let v = dequant(block, e);
            // Spelled out: an array of sums would live in memory.
            sums_a += vec4<f32>(x_dot(v, at_a.x), x_dot(v, at_a.y), x_dot(v, at_a.z), x_dot(v, at_a.w));
            sums_b += vec4<f32>(x_dot(v, at_b.x), x_dot(v, at_b.y), x_dot(v, at_b.z), x_dot(v, at_b.w));
            at_a += 8u;
            at_b += 8u;
        }
        block += BLOCK_BYTES;
    }
#if PLAIN
    for (var rest = params.n_in % BLOCK_LEN; rest > 0u; rest--) {
        let v = decode(block);
        sums_a += v * vec4<f32>(x[at_a.x], x[at_a.y], x[at_a.z], x[at_a.w]);
        sums_b += v * vec4<f32>(x[at_b.x], x[at_b.y], x[at_b.z], x[at_b.w]);
        block += VALUE_BYTES;
        at_a += 1u;
        at_b += 1u;
    }
#endif
    var factor = 1.0;
    if params.scale_base != NONE {
        factor = scale[params.scale_base + o];
    }
    var shift = 0.0;
    if params.bias_base != NONE {
        shift = bias[params.bias_base + o];
    }
    for (var t = 0u; t < min(TILE, params.rows - first); t++) {
        let to = params.out_base + (first + t) * params.out_stride + o;
        var sum = select(sums_b[t & 3u], sums_a[t & 3u], t < 4u) * factor + shift;
        if params.add != 0u {
            sum += out[to];
        }
        out[to] = sum;
    }
}
