// 32 rows and 64 outputs (with TWO 32 of each matrix) a workgroup, in products of small matrices of 16-bit floats that a
// subgroup multiplies together and sums in F32: prefill on a GPU with units for that.
//
// Weights are expanded into memory of the workgroup, DEPTH values of each output at a time, beside as many activations of
// each row, which `half_rows` has written. Four subgroups take 16 outputs each, for all rows; where there are more, the
// others do the same work again. Matrices are 16 x 16 with SIXTEEN, else 8 x 8.
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
#import matmul/half

// Rows and columns begin on multiples of 16 bytes.
const PITCH = DEPTH + 8u;
// Four times the largest subgroup of the adapter.
override THREADS: u32 = 128u;

var<workgroup> weights: array<f16, OUTS * PITCH>;
var<workgroup> rows: array<f16, TILE * PITCH>;
var<workgroup> sums: array<f32, TILE * OUTS>;
// First byte of the tile's matrix: what all invocations know to be the same for all.
var<workgroup> shared_w: u32;

#if SIXTEEN
alias Rows = coop_mat16x16<f16, A>;
alias Weights = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;
#else
alias Rows = coop_mat8x8<f16, A>;
alias Weights = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;
#endif

fn put_weights(r: u32, e: u32, v: Octet) {
    for (var j = 0u; j < 4u; j++) {
        weights[r * PITCH + 8u * e + j] = f16(v.lo[j]);
        weights[r * PITCH + 8u * e + 4u + j] = f16(v.hi[j]);
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(local_invocation_index) index: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
) {
    let tile = tile_at(group.y, 0u);
    if index == 0u {
        shared_w = tile.w;
    }
    if workgroupUniformLoad(&shared_w) == NONE {
        return;
    }
#if TWO
    let first_out = group.x * (OUTS / 2u);
#else
    let first_out = group.x * OUTS;
#endif
    let mine = 16u * (subgroup % 4u);
    var s00 = Sums();
    var s10 = Sums();
#if SIXTEEN
#else
    var s01 = Sums();
    var s11 = Sums();
    var s20 = Sums();
    var s21 = Sums();
    var s30 = Sums();
    var s31 = Sums();
#endif
    for (var k = 0u; k < params.n_in; k += DEPTH) {
        stage_weights(tile, first_out, k, index, THREADS);
        for (var i = index; i < TILE * DEPTH / 8u; i += THREADS) {
            let r = i / (DEPTH / 8u);
            let e = i % (DEPTH / 8u);
            var v = vec4<u32>();
            if k + 8u * e < params.n_in {
                v = x[source(tile, r) + 1u + k / 8u + e];
            }
            let lo = halves4(v.x, v.y);
            let hi = halves4(v.z, v.w);
            for (var j = 0u; j < 4u; j++) {
                rows[r * PITCH + 8u * e + j] = lo[j];
                rows[r * PITCH + 8u * e + 4u + j] = hi[j];
            }
        }
        workgroupBarrier();
#if SIXTEEN
        for (var d = 0u; d < DEPTH; d += 16u) {
            let w = coopLoad<Weights>(&weights[mine * PITCH + d], PITCH);
            s00 = coopMultiplyAdd(coopLoadT<Rows>(&rows[d], PITCH), w, s00);
            s10 = coopMultiplyAdd(coopLoadT<Rows>(&rows[16u * PITCH + d], PITCH), w, s10);
        }
#else
        for (var d = 0u; d < DEPTH; d += 8u) {
            let w0 = coopLoad<Weights>(&weights[mine * PITCH + d], PITCH);
            let w1 = coopLoad<Weights>(&weights[(mine + 8u) * PITCH + d], PITCH);
            let x0 = coopLoadT<Rows>(&rows[d], PITCH);
            let x1 = coopLoadT<Rows>(&rows[8u * PITCH + d], PITCH);
            let x2 = coopLoadT<Rows>(&rows[16u * PITCH + d], PITCH);
            let x3 = coopLoadT<Rows>(&rows[24u * PITCH + d], PITCH);
            s00 = coopMultiplyAdd(x0, w0, s00);
            s01 = coopMultiplyAdd(x0, w1, s01);
            s10 = coopMultiplyAdd(x1, w0, s10);
            s11 = coopMultiplyAdd(x1, w1, s11);
            s20 = coopMultiplyAdd(x2, w0, s20);
            s21 = coopMultiplyAdd(x2, w1, s21);
            s30 = coopMultiplyAdd(x3, w0, s30);
            s31 = coopMultiplyAdd(x3, w1, s31);
        }
#endif
        workgroupBarrier();
    }
#if SIXTEEN
    coopStoreT(s00, &sums[mine], OUTS);
    coopStoreT(s10, &sums[16u * OUTS + mine], OUTS);
#else
    coopStoreT(s00, &sums[mine], OUTS);
    coopStoreT(s01, &sums[mine + 8u], OUTS);
    coopStoreT(s10, &sums[8u * OUTS + mine], OUTS);
    coopStoreT(s11, &sums[8u * OUTS + mine + 8u], OUTS);
    coopStoreT(s20, &sums[16u * OUTS + mine], OUTS);
    coopStoreT(s21, &sums[16u * OUTS + mine + 8u], OUTS);
    coopStoreT(s30, &sums[24u * OUTS + mine], OUTS);
    coopStoreT(s31, &sums[24u * OUTS + mine + 8u], OUTS);
#endif
    workgroupBarrier();
#if TWO
    for (var i = index; i < TILE * OUTS / 2u; i += THREADS) {
        let row = i / (OUTS / 2u);
        let column = i % (OUTS / 2u);
        let scale = row_scale(source(tile, row));
        let at = row * OUTS + column;
        store(tile, row, first_out + column, sums[at] * scale, sums[at + OUTS / 2u] * scale);
    }
#else
    for (var i = index; i < TILE * OUTS; i += THREADS) {
        let row = i / OUTS;
        let o = first_out + i % OUTS;
        store(tile, row, o, scaled(tile, o, sums[i] * row_scale(source(tile, row))), 0.0);
    }
#endif
}
