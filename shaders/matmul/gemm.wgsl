// MatMul, one output of TILE rows a thread: prefill. A block is dequantised once for all rows of the tile.
#import matmul/params
#import common/words
#import quant/{format}

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
    var at: array<u32, TILE>;
    var sums: array<f32, TILE>;
    for (var t = 0u; t < TILE; t++) {
        at[t] = params.x_base + min(first + t, params.rows - 1u) * params.x_stride;
        sums[t] = 0.0;
    }
    var block = params.w_base + o * params.w_stride;
    var i = 0u;
    for (var b = params.n_in / BLOCK_LEN; b > 0u; b--) {
        for (var e = 0u; e < BLOCK_LEN; e += 8u) {
            let v = dequant(block, e);
            for (var t = 0u; t < TILE; t++) {
                let k = at[t] + i;
                sums[t] += dot(v.lo, vec4<f32>(x[k], x[k + 1u], x[k + 2u], x[k + 3u]))
                    + dot(v.hi, vec4<f32>(x[k + 4u], x[k + 5u], x[k + 6u], x[k + 7u]));
            }
            i += 8u;
        }
        block += BLOCK_BYTES;
    }
#if PLAIN
    for (var rest = params.n_in % BLOCK_LEN; rest > 0u; rest--) {
        let v = decode(block);
        for (var t = 0u; t < TILE; t++) {
            sums[t] += v * x[at[t] + i];
        }
        block += VALUE_BYTES;
        i += 1u;
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
        var sum = sums[t] * factor + shift;
        if params.add != 0u {
            sum += out[to];
        }
        out[to] = sum;
    }
}
