// 32 rows and 64 outputs (with TWO 32 of each matrix) a workgroup, four by four a thread: prefill on a GPU.
//
// Weights are expanded into memory of the workgroup, DEPTH values of each output at a time, beside as many activations of
// each row. Both lie there with a gap after DEPTH values, so that the threads of a subgroup read from different banks.
#import quant/values
#import common/weights
#import common/words
#import quant/{format}
#import matmul/params

const TILE = 32u;
#import matmul/job

const OUTS = 64u;
const DEPTH = 32u;
const THREADS = 128u;
// In vectors of four.
const PITCH = DEPTH / 4u + 1u;

var<workgroup> weights: array<vec4<f32>, OUTS * PITCH>;
var<workgroup> rows: array<vec4<f32>, TILE * PITCH>;

// Eight weights of the r-th output of the tile, from value k on.
fn weights_at(tile: Tile, first_out: u32, r: u32, k: u32) -> Octet {
    let last = params.n_out - 1u;
    let block = k / BLOCK_LEN * BLOCK_BYTES;
#if TWO
    if r >= OUTS / 2u {
        let o = min(first_out + r - OUTS / 2u, last);
        return dequant_up(tile.up + o * params.up_stride + block, k % BLOCK_LEN);
    }
#endif
    return dequant(tile.w + min(first_out + r, last) * params.w_stride + block, k % BLOCK_LEN);
}

fn four(v: vec4<f32>, first: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(
        dot(v, rows[first + k]), dot(v, rows[first + 8u * PITCH + k]),
        dot(v, rows[first + 16u * PITCH + k]), dot(v, rows[first + 24u * PITCH + k]));
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
    let row_a = source(tile, index / 8u) / 4u + index % 8u;
    let row_b = source(tile, 16u + index / 8u) / 4u + index % 8u;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var k = 0u; k < params.n_in; k += DEPTH) {
        for (var i = index; i < OUTS * DEPTH / 8u; i += THREADS) {
            let r = i / (DEPTH / 8u);
            let e = i % (DEPTH / 8u);
            // Rows of plain formats may end within the depth.
            var v = Octet(vec4<f32>(), vec4<f32>());
            if k + 8u * e < params.n_in {
                v = weights_at(tile, first_out, r, k + 8u * e);
            }
            weights[r * PITCH + 2u * e] = v.lo;
            weights[r * PITCH + 2u * e + 1u] = v.hi;
        }
        var a = vec4<f32>();
        var b = vec4<f32>();
        if k + 4u * (index % 8u) < params.n_in {
            a = x[row_a + k / 4u];
            b = x[row_b + k / 4u];
        }
        rows[index / 8u * PITCH + index % 8u] = a;
        rows[(16u + index / 8u) * PITCH + index % 8u] = b;
        workgroupBarrier();
        for (var d = 0u; d < DEPTH / 4u; d++) {
            s0 += four(weights[column * PITCH + d], line * PITCH, d);
            s1 += four(weights[(16u + column) * PITCH + d], line * PITCH, d);
            s2 += four(weights[(32u + column) * PITCH + d], line * PITCH, d);
            s3 += four(weights[(48u + column) * PITCH + d], line * PITCH, d);
        }
        workgroupBarrier();
    }
    for (var j = 0u; j < 4u; j++) {
        let row = line + 8u * j;
        let o = first_out + column;
#if TWO
        store(tile, row, o, s0[j], s2[j]);
        store(tile, row, o + 16u, s1[j], s3[j]);
#else
        store(tile, row, o, scaled(tile, o, s0[j]), 0.0);
        store(tile, row, o + 16u, scaled(tile, o + 16u, s1[j]), 0.0);
        store(tile, row, o + 32u, scaled(tile, o + 32u, s2[j]), 0.0);
        store(tile, row, o + 48u, scaled(tile, o + 48u, s3[j]), 0.0);
#endif
    }
}
