// 32 rows and 64 outputs (with TWO 32 of each matrix) a workgroup, four by four a thread: prefill on a GPU.
//
// Weights are expanded into memory of the workgroup, DEPTH values of each output at a time, beside as many activations of
// each row. Both lie there with a gap after DEPTH values, so that the threads of a subgroup read from different banks.
//
// HALF: both are 16-bit floats there, activations as `half_rows` has written them. Four products are summed as such, the rest
// in F32.
#import quant/values
#import common/weights
#import common/words
#import quant/{format}
#import matmul/params

const TILE = 32u;
#import matmul/job

const OUTS = 64u;
const DEPTH = 32u;
#import matmul/tile_weights
#import matmul/tile_store
#if HALF
#import matmul/half
alias Value4 = vec4<f16>;
#else
alias Value4 = vec4<f32>;
#endif

const THREADS = 128u;
// In vectors of four.
const PITCH = DEPTH / 4u + 1u;

var<workgroup> weights: array<Value4, OUTS * PITCH>;
var<workgroup> rows: array<Value4, TILE * PITCH>;

fn put_weights(r: u32, e: u32, v: Octet) {
    weights[r * PITCH + 2u * e] = Value4(v.lo);
    weights[r * PITCH + 2u * e + 1u] = Value4(v.hi);
}

fn four(v: Value4, first: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(Value4(
        dot(v, rows[first + k]), dot(v, rows[first + 8u * PITCH + k]),
        dot(v, rows[first + 16u * PITCH + k]), dot(v, rows[first + 24u * PITCH + k])));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) index: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let tile = tile_at(group.y, 0u);
    if tile.w == NONE {
        return;
    }
#if TWO
    let first_out = group.x * (OUTS / 2u);
#else
    let first_out = group.x * OUTS;
#endif
    // This thread's outputs are column + 16 i, its rows line + 8 j.
    let column = index % 16u;
    let line = index / 16u;
#if HALF
    let row = source(tile, index / 4u) + 1u + index % 4u;
#else
    let row_a = source(tile, index / 8u) / 4u + index % 8u;
    let row_b = source(tile, 16u + index / 8u) / 4u + index % 8u;
#endif
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var k = 0u; k < params.n_in; k += DEPTH) {
        stage_weights(tile, first_out, k, index, THREADS);
#if HALF
        var v = vec4<u32>();
        if k + 8u * (index % 4u) < params.n_in {
            v = x[row + k / 8u];
        }
        let at = index / 4u * PITCH + 2u * (index % 4u);
        rows[at] = halves4(v.x, v.y);
        rows[at + 1u] = halves4(v.z, v.w);
#else
        var a = vec4<f32>();
        var b = vec4<f32>();
        if k + 4u * (index % 8u) < params.n_in {
            a = x[row_a + k / 4u];
            b = x[row_b + k / 4u];
        }
        rows[index / 8u * PITCH + index % 8u] = a;
        rows[(16u + index / 8u) * PITCH + index % 8u] = b;
#endif
        workgroupBarrier();
        for (var d = 0u; d < DEPTH / 4u; d++) {
            s0 += four(weights[column * PITCH + d], line * PITCH, d);
            s1 += four(weights[(16u + column) * PITCH + d], line * PITCH, d);
            s2 += four(weights[(32u + column) * PITCH + d], line * PITCH, d);
            s3 += four(weights[(48u + column) * PITCH + d], line * PITCH, d);
        }
        workgroupBarrier();
    }
#if HALF
    let scale = vec4<f32>(
        row_scale(source(tile, line)), row_scale(source(tile, line + 8u)),
        row_scale(source(tile, line + 16u)), row_scale(source(tile, line + 24u)));
    s0 *= scale;
    s1 *= scale;
    s2 *= scale;
    s3 *= scale;
#endif
    store_sums(tile, line, first_out + column, s0, s1, s2, s3);
}
