// One row, a few outputs a workgroup, all lanes of which share each output: decode on a GPU.
//
// The bytes of the outputs' weights come in steps of STEP values, 16 at a time and side by side, into memory of the
// workgroup; there each lane expands the eight weights that belong to its activations, of every output.
#import quant/values
#import common/words
#import quant/{format}
#import matmul/params

const TILE = 1u;
#import matmul/job

@group(1) @binding(0) var<storage, read> matrix: array<vec4<u32>>;

const LANES = 64u;
const OUTS = 4u;
const STEP = 8u * LANES;
const STEP_BYTES = STEP / BLOCK_LEN * BLOCK_BYTES;
// Of 16 bytes; one more, as the first may begin anywhere in them.
const STEP_WORDS = (STEP_BYTES + 15u) / 16u + 1u;

// What `common/words` reads.
var<workgroup> w: array<u32, 4u * STEP_WORDS * OUTS>;
var<workgroup> parts: array<vec4<f32>, LANES>;

struct Lane {
    index: u32,
#if SUBGROUPS
    subgroup: u32,
    subgroups: u32,
    inner: u32,
#endif
}

// The sum over all lanes, for lane 0.
fn sum_of_lanes(lane: Lane, mine: vec4<f32>) -> vec4<f32> {
#if SUBGROUPS
    let sum = vec4<f32>(
        subgroupAdd(mine.x), subgroupAdd(mine.y), subgroupAdd(mine.z), subgroupAdd(mine.w));
    if lane.inner == 0u {
        parts[lane.subgroup] = sum;
    }
    workgroupBarrier();
    var total = vec4<f32>();
    if lane.index == 0u {
        for (var s = 0u; s < lane.subgroups; s++) {
            total += parts[s];
        }
    }
    workgroupBarrier();
    return total;
#else
    parts[lane.index] = mine;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane.index < half {
            parts[lane.index] += parts[lane.index + half];
        }
    }
    workgroupBarrier();
    let total = parts[0];
    workgroupBarrier();
    return total;
#endif
}

// First byte of the weights of the r-th output from o on; of the last output if there is no such one.
fn start_of(tile: Tile, o: u32, r: u32) -> u32 {
    let last = params.n_out - 1u;
#if TWO
    if r >= 2u {
        return tile.up + min(o + r - 2u, last) * params.up_stride;
    }
#endif
    return tile.w + min(o + r, last) * params.w_stride;
}

fn sums_of(lane: Lane, tile: Tile, o: u32) -> vec4<f32> {
    let starts =
        vec4<u32>(start_of(tile, o, 0u), start_of(tile, o, 1u), start_of(tile, o, 2u), start_of(tile, o, 3u));
    let row_bytes = params.n_in / BLOCK_LEN * BLOCK_BYTES;
    let at = source(tile, 0u) / 4u;
    let value = 8u * lane.index;
    var sums = vec4<f32>();
    for (var first = 0u; first < params.n_in; first += STEP) {
        let offset = first / BLOCK_LEN * BLOCK_BYTES;
        let bytes = min(STEP_BYTES, row_bytes - offset);
        for (var i = lane.index; i < STEP_WORDS * OUTS; i += LANES) {
            let r = i / STEP_WORDS;
            let start = starts[r] + offset;
            let word = start / 16u + i % STEP_WORDS;
            if word * 16u < start + bytes {
#if TWO
                var v: vec4<u32>;
                if r >= 2u {
                    v = matrix_up[word];
                } else {
                    v = matrix[word];
                }
#else
                let v = matrix[word];
#endif
                w[4u * i] = v.x;
                w[4u * i + 1u] = v.y;
                w[4u * i + 2u] = v.z;
                w[4u * i + 3u] = v.w;
            }
        }
        workgroupBarrier();
        if first + value < params.n_in {
            let lo = x[at + (first + value) / 4u];
            let hi = x[at + (first + value) / 4u + 1u];
            let block = value / BLOCK_LEN * BLOCK_BYTES;
            let begin = ((starts + offset) & vec4<u32>(15u)) + block;
            let e = value % BLOCK_LEN;
            let v0 = dequant(begin.x, e);
            let v1 = dequant(begin.y + 16u * STEP_WORDS, e);
            let v2 = dequant(begin.z + 32u * STEP_WORDS, e);
            let v3 = dequant(begin.w + 48u * STEP_WORDS, e);
            sums += vec4<f32>(
                dot(v0.lo, lo) + dot(v0.hi, hi), dot(v1.lo, lo) + dot(v1.hi, hi),
                dot(v2.lo, lo) + dot(v2.hi, hi), dot(v3.lo, lo) + dot(v3.hi, hi));
        }
        workgroupBarrier();
    }
    return sum_of_lanes(lane, sums);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
#if SUBGROUPS
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) inner: u32,
#endif
) {
#if SUBGROUPS
    let lane = Lane(index, subgroup, subgroups, inner);
#else
    let lane = Lane(index);
#endif
#if TWO
    let o = group.x * 2u;
#else
    let o = group.x * OUTS;
#endif
#if DOWN
    // One workgroup sums all picks of its row, so that the order of the sum is fixed.
    var sums = vec4<f32>();
    var any = 0u;
    for (var rank = 0u; rank < params.top_k; rank++) {
        let tile = tile_at(group.y, rank);
        if tile.w != NONE {
            let part = sums_of(lane, tile, o);
            sums += vec4<f32>(scaled(tile, o, part.x), scaled(tile, o + 1u, part.y),
                scaled(tile, o + 2u, part.z), scaled(tile, o + 3u, part.w));
            any = 1u;
        }
    }
    let tile = Tile(0u, 0u, NONE, group.y, any);
#else
    let tile = tile_at(group.y, 0u);
    if tile.w == NONE {
        return;
    }
    let sums = sums_of(lane, tile, o);
#endif
    if index != 0u {
        return;
    }
#if TWO
    store(tile, 0u, o, sums.x, sums.z);
    store(tile, 0u, o + 1u, sums.y, sums.w);
#else
#if DOWN
    store(tile, 0u, o, sums.x, 0.0);
    store(tile, 0u, o + 1u, sums.y, 0.0);
    store(tile, 0u, o + 2u, sums.z, 0.0);
    store(tile, 0u, o + 3u, sums.w, 0.0);
#else
    store(tile, 0u, o, scaled(tile, o, sums.x), 0.0);
    store(tile, 0u, o + 1u, scaled(tile, o + 1u, sums.y), 0.0);
    store(tile, 0u, o + 2u, scaled(tile, o + 2u, sums.z), 0.0);
    store(tile, 0u, o + 3u, scaled(tile, o + 3u, sums.w), 0.0);
#endif
#endif
}
