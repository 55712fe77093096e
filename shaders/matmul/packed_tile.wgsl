// 32 rows and 64 outputs (with TWO 32 of each matrix) a workgroup, four by four a thread, in products of packed signed
// bytes: prefill on a GPU, with activations that `pack_rows` has rounded.
//
// Weights stay bytes: each thread unpacks one run of 32 into memory of the workgroup, for RUNS runs of each output at a time,
// beside as many blocks of each row. Sums of 32 products are exact integers; scales, and what HALVES and LOW tell of the
// format, meet them afterwards. Both lie there in vectors of which three are a block, so that the threads of a subgroup read
// from different banks.
#import quant/values
#import common/weights
#import common/words
#import quant/{format}
#import matmul/params

const TILE = 32u;
#import matmul/job
#import matmul/tile_store

const OUTS = 64u;
const RUNS = 2u;
const THREADS = 128u;

// 32 bytes, and their scales and lows, or their scale and scaled sums, as floats.
var<workgroup> weights: array<vec4<u32>, 3u * RUNS * OUTS>;
var<workgroup> rows: array<vec4<u32>, 3u * RUNS * TILE>;

// 32 weights of the r-th output of the tile, from value k on.
fn run_of(tile: Tile, first_out: u32, r: u32, k: u32) -> Run {
    let last = params.n_out - 1u;
    let block = k / BLOCK_LEN * BLOCK_BYTES;
#if TWO
    if r >= OUTS / 2u {
        let o = min(first_out + r - OUTS / 2u, last);
        return unpack_up(tile.up + o * params.up_stride + block, k % BLOCK_LEN / 32u);
    }
#endif
    return unpack(tile.w + min(first_out + r, last) * params.w_stride + block, k % BLOCK_LEN / 32u);
}

fn dot16(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

// 32 weights times 32 activations, of the run and the block that begin there.
fn one(run: u32, block: u32) -> f32 {
    let w_of = bitcast<vec4<f32>>(weights[run + 2u]);
    let x_of = bitcast<vec4<f32>>(rows[block + 2u]);
    let a = dot16(weights[run], rows[block]);
    let b = dot16(weights[run + 1u], rows[block + 1u]);
#if HALVES
    // 16 weights have a scale of their own.
    var sum = (f32(a) * w_of.x + f32(b) * w_of.y) * x_of.x;
#if LOW
    sum += w_of.z * x_of.y + w_of.w * x_of.z;
#endif
#else
    var sum = f32(a + b) * (w_of.x * x_of.x);
#if LOW
    sum += w_of.z * x_of.w;
#endif
#endif
    return sum;
}

fn four(run: u32, first: u32) -> vec4<f32> {
    return vec4<f32>(one(run, first), one(run, first + 24u), one(run, first + 48u), one(run, first + 72u));
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
    // The run that it unpacks, and the vectors of activations that it loads: one, and half of the threads another.
    let r = index / RUNS;
    let s = index % RUNS;
    let part_a = index % (3u * RUNS);
    let part_b = (index + THREADS) % (3u * RUNS);
    let line_a = index / (3u * RUNS);
    let line_b = (index + THREADS) / (3u * RUNS);
    let row_a = source(tile, line_a) + part_a;
    let row_b = source(tile, line_b) + part_b;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var k = 0u; k < params.n_in; k += 32u * RUNS) {
        // The last step may be half.
        var run = Run(vec4<u32>(), vec4<u32>(), vec2<f32>(), vec2<f32>());
        if k + 32u * s < params.n_in {
            run = run_of(tile, first_out, r, k + 32u * s);
        }
        let at = 3u * (s * OUTS + r);
        weights[at] = run.a;
        weights[at + 1u] = run.b;
        weights[at + 2u] = bitcast<vec4<u32>>(vec4<f32>(run.scale, run.low));
        var v = vec4<u32>();
        if k + 32u * (part_a / 3u) < params.n_in {
            v = x[row_a + 3u * (k / 32u)];
        }
        rows[3u * (part_a / 3u * TILE + line_a) + part_a % 3u] = v;
        if index < 3u * RUNS * TILE - THREADS {
            v = vec4<u32>();
            if k + 32u * (part_b / 3u) < params.n_in {
                v = x[row_b + 3u * (k / 32u)];
            }
            rows[3u * (part_b / 3u * TILE + line_b) + part_b % 3u] = v;
        }
        workgroupBarrier();
        for (var d = 0u; d < RUNS; d++) {
            let w = 3u * (d * OUTS + column);
            let first = 3u * (d * TILE + line);
            s0 += four(w, first);
            s1 += four(w + 48u, first);
            s2 += four(w + 96u, first);
            s3 += four(w + 144u, first);
        }
        workgroupBarrier();
    }
    store_sums(tile, line, first_out + column, s0, s1, s2, s3);
}
