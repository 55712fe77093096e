// What a row and a tile of rows have in common where weights and activations are bound as uniforms, in windows of 64 KiB.
// A driver that computes on the CPU checks every lane of a load from a storage buffer against its length; that costs ten
// times the load of a uniform.
//
// The outputs of a dispatch lie in four windows of as many rows of the matrix, with TWO in two windows of each matrix, and a
// thread owns the same row of all four. The rows of a tile lie in four windows of activations, four rows of the tile in each.
// EXTRA: there may be factors of the outputs or a bias, or sums are added to what `out` holds.

const NONE = 0xffffffffu;

// Bases and strides count bytes of weights, four activations or elements.
struct Params {
    w_base: vec4<u32>,
    w_stride: vec4<u32>,
    x_base: vec4<u32>,
    x_stride: u32,
    n_in: u32,
    // Outputs of the dispatch, and of a window.
    n_out: u32,
    window_outs: u32,
    // Rows of the dispatch, and of a window.
    rows: u32,
    window_rows: u32,
    out_base: u32,
    out_stride: u32,
    scale_base: u32,
    bias_base: u32,
    add: u32,
    // 0.
    nought: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<uniform> w: array<vec4<u32>, 4096>;
@group(1) @binding(1) var<uniform> w_1: array<vec4<u32>, 4096>;
@group(1) @binding(2) var<uniform> w_2: array<vec4<u32>, 4096>;
@group(1) @binding(3) var<uniform> w_3: array<vec4<u32>, 4096>;
@group(1) @binding(4) var<storage, read_write> out: array<f32>;
@group(1) @binding(5) var<uniform> x: array<vec4<f32>, 4096>;
#if TILED
@group(1) @binding(6) var<uniform> x1: array<vec4<f32>, 4096>;
@group(1) @binding(7) var<uniform> x2: array<vec4<f32>, 4096>;
@group(1) @binding(8) var<uniform> x3: array<vec4<f32>, 4096>;
#if EXTRA
@group(1) @binding(9) var<storage, read> scale: array<f32>;
@group(1) @binding(10) var<storage, read> bias: array<f32>;
#endif
const TILE = 4u;
#else
#if EXTRA
@group(1) @binding(6) var<storage, read> scale: array<f32>;
@group(1) @binding(7) var<storage, read> bias: array<f32>;
#endif
const TILE = 1u;
#endif

#import common/words
#import quant/{format}
#import quant/expand
#import common/words as 1
#import quant/{format} as 1
#import quant/expand as 1
#import common/words as 2
#import quant/{format} as 2
#import quant/expand as 2
#import common/words as 3
#import quant/{format} as 3
#import quant/expand as 3
#import matmul/times

const THREADS = 8u;
const OUTS = 1u;

struct Tile {
    // Never NONE.
    w: u32,
    // Its first row in each window.
    first: u32,
}

fn tile_at(y: u32, rank: u32) -> Tile {
    return Tile(0u, y * TILE);
}

// Index in its window of row i of the tile. What lies there if there is no such row goes nowhere.
fn source(tile: Tile, i: u32) -> u32 {
    return (params.x_base[i / 4u] + (tile.first + i % 4u) * params.x_stride) * 4u;
}

// First byte of row o of each window.
fn starts_of(tile: Tile, o: u32) -> vec4<u32> {
    return params.w_base + o * params.w_stride;
}

// Zero. Reads the rows of eight neighbouring threads, which lie side by side, line by line: so they come to the processor
// in their order, and not as 32 streams at once, which is more than it foresees.
fn touched(tile: Tile, first: u32) -> f32 {
    let starts = starts_of(tile, first);
    let end = min(8u * max(params.w_stride.x, params.w_stride.w), 65536u) + zero;
    var all = 0u;
    for (var at = 64u * lane; at < end; at += 512u) {
        let words = (starts + at) / 4u;
        all |= word(words.x) | word_1(words.y) | word_2(words.z) | word_3(words.w);
    }
    return f32(all & params.nought);
}

fn values_0(block: u32, k: u32) -> Values {
    return values(block, k);
}

#if TILED
fn x_1(at: u32) -> vec4<f32> {
    return x1[at];
}

fn x_2(at: u32) -> vec4<f32> {
    return x2[at];
}

fn x_3(at: u32) -> vec4<f32> {
    return x3[at];
}
#endif

fn x_0(at: u32) -> vec4<f32> {
    return x[at];
}

fn factored(tile: Tile, o: u32, sums: vec4<f32>) -> vec4<f32> {
    return sums;
}

#if TWO
#import common/float
#else
fn store(row: u32, o: u32, held: bool, sum: f32) {
    if held && o < params.n_out {
        let to = params.out_base + row * params.out_stride + o;
        var value = sum;
#if EXTRA
        if params.scale_base + zero != NONE {
            value *= scale[params.scale_base + o];
        }
        if params.bias_base + zero != NONE {
            value += bias[params.bias_base + o];
        }
        if params.add + zero != 0u {
            value += out[to];
        }
#endif
        out[to] = value;
    }
}
#endif

// Stores what row i of the tile gives.
fn keep(tile: Tile, i: u32, o: u32, sums: vec4<f32>) {
    let in_window = tile.first + i % 4u;
    let row = i / 4u * params.window_rows + in_window;
    let held = o < params.window_outs && in_window < params.window_rows && row < params.rows;
#if TWO
    let to = params.out_base + row * params.out_stride + o;
    if held && o < params.n_out {
        out[to] = sums.x * sigmoid(sums.x) * sums.z;
    }
    if held && o + params.window_outs < params.n_out {
        out[to + params.window_outs] = sums.y * sigmoid(sums.y) * sums.w;
    }
#else
    store(row, o, held, sums.x);
    store(row, o + params.window_outs, held, sums.y);
    store(row, o + 2u * params.window_outs, held, sums.z);
    store(row, o + 3u * params.window_outs, held, sums.w);
#endif
}
