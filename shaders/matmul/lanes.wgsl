// What a row and a tile of rows have in common where lanes load for each other, and weights and activations lie in storage
// buffers: matrices of experts, and what does not fit into `windows`.
#import common/weights
#import common/words
#import quant/{format}
#import matmul/params

#if TILED
const TILE = 16u;
#else
const TILE = 1u;
#endif
#import matmul/job
#import matmul/times

const THREADS = 32u;
#if TWO
const OUTS = 2u;
#import quant/expand as up
#else
const OUTS = 4u;
#endif
#import quant/expand

// First bytes of outputs o .. o + 4; with TWO of o and o + 1 of both matrices. The last output stands for those after it.
fn starts_of(tile: Tile, o: u32) -> vec4<u32> {
    let all = min(vec4<u32>(o, o + 1u, o + 2u, o + 3u), vec4<u32>(params.n_out - 1u));
#if TWO
    return vec4<u32>(tile.w + all.xy * params.w_stride, tile.up + all.xy * params.up_stride);
#else
    return tile.w + all * params.w_stride;
#endif
}

// 32 weights of each of the four, and, before they are numbers, the runs of three of them: `unpack` gives the first.
fn values_0(block: u32, k: u32) -> Values {
    return values(block, k);
}

fn values_1(block: u32, k: u32) -> Values {
    return values(block, k);
}

fn values_2(block: u32, k: u32) -> Values {
#if TWO
    return values_up(block, k);
#else
    return values(block, k);
#endif
}

fn values_3(block: u32, k: u32) -> Values {
    return values_2(block, k);
}

#if PLAIN
#else
fn unpack_1(block: u32, j: u32) -> Run {
    return unpack(block, j);
}

fn unpack_2(block: u32, j: u32) -> Run {
#if TWO
    return unpack_up(block, j);
#else
    return unpack(block, j);
#endif
}

fn unpack_3(block: u32, j: u32) -> Run {
    return unpack_2(block, j);
}
#endif

// Four activations, of every fourth row of a tile.
fn x_0(at: u32) -> vec4<f32> {
    return x[at];
}

fn x_1(at: u32) -> vec4<f32> {
    return x[at];
}

fn x_2(at: u32) -> vec4<f32> {
    return x[at];
}

fn x_3(at: u32) -> vec4<f32> {
    return x[at];
}

// The sums times the outputs' factors.
fn factored(tile: Tile, o: u32, sums: vec4<f32>) -> vec4<f32> {
#if TWO
    return sums;
#else
    return vec4<f32>(scaled(tile, o, sums.x), scaled(tile, o + 1u, sums.y),
        scaled(tile, o + 2u, sums.z), scaled(tile, o + 3u, sums.w));
#endif
}

// Stores the factored sums of row i.
fn keep(tile: Tile, i: u32, o: u32, sums: vec4<f32>) {
#if TWO
    store(tile, i, o, sums.x, sums.z);
    store(tile, i, o + 1u, sums.y, sums.w);
#else
    store(tile, i, o, sums.x, 0.0);
    store(tile, i, o + 1u, sums.y, 0.0);
    store(tile, i, o + 2u, sums.z, 0.0);
    store(tile, i, o + 3u, sums.w, 0.0);
#endif
}
