// Which rows a tile multiplies, by which matrix, and what becomes of the sums.
//
// TWO: out = silu(x gate) * (x up) instead of x w. EXPERT: each pick of a router has a matrix of its own, and with BACK
// a row of `x` of its own. TILED: up to TILE rows a tile instead of one; without it BACK is DOWN, and a tile is a row of
// `out` that sums over its picks.

struct Tile {
    // First byte of the matrix in `w`, of the second in `w_up`; NONE if there is nothing to do.
    w: u32,
    up: u32,
    // First element of the outputs' factors, or NONE.
    scale: u32,
    // First row, or first index in the sorted picks, and how many.
    first: u32,
    count: u32,
}

#if TWO
#import common/float
#if STAGED
@group(1) @binding(3) var<storage, read> matrix_up: array<vec4<u32>>;
#else
#import common/words as up
#import quant/{format} as up
@group(1) @binding(3) var<storage, read> w_up: array<u32>;
#endif
#else
@group(1) @binding(3) var<storage, read> scale: array<f32>;
#endif

#if EXPERT
// Three words an expert: its first byte in `w`, in `w_up`, its first scale. An expert of another window has NONE.
@group(1) @binding(4) var<storage, read> table: array<u32>;
// Without TILED the experts that were picked; with it the plan of `route/sort`.
@group(1) @binding(5) var<storage, read> chosen: array<u32>;
#if TWO
@group(1) @binding(6) var<storage, read> scores: array<f32>;
#endif

fn of_expert(expert: u32, first: u32, count: u32) -> Tile {
    if expert >= params.n_experts {
        return Tile(NONE, NONE, NONE, first, 0u);
    }
    let at = params.table_base + 3u * expert;
    return Tile(table[at], table[at + 1u], table[at + 2u], first, count);
}

#if TILED
#import route/plan

fn tile_at(y: u32, rank: u32) -> Tile {
    if y >= chosen[0] {
        return Tile(NONE, NONE, NONE, 0u, 0u);
    }
    let at = PLAN_HEAD + 3u * y;
    return of_expert(chosen[at], chosen[at + 1u], chosen[at + 2u]);
}

fn pick_of(tile: Tile, i: u32) -> u32 {
    return chosen[params.pick_base + tile.first + i];
}
#else
fn tile_at(y: u32, rank: u32) -> Tile {
#if DOWN
    let pick = y * params.top_k + rank;
#else
    let pick = y;
#endif
    return of_expert(chosen[params.pick_base + pick], pick, 1u);
}

fn pick_of(tile: Tile, i: u32) -> u32 {
    return tile.first;
}
#endif
#else
#if TWO
#else
@group(1) @binding(4) var<storage, read> bias: array<f32>;
#endif

fn tile_at(y: u32, rank: u32) -> Tile {
    let first = y * TILE;
    return Tile(params.w_base, params.up_base, params.scale_base, first, min(TILE, params.rows - first));
}
#endif

// Index in `x` of row i of the tile; of its last row if there is no such row.
fn source(tile: Tile, i: u32) -> u32 {
    let held = min(i, tile.count - 1u);
#if EXPERT
#if BACK
    return params.x_base + pick_of(tile, held) * params.x_stride;
#else
    return params.x_base + (pick_of(tile, held) / params.top_k) * params.x_stride;
#endif
#else
    return params.x_base + (tile.first + held) * params.x_stride;
#endif
}

#if TWO
#else
// The sum of output o times the output's factor.
fn scaled(tile: Tile, o: u32, sum: f32) -> f32 {
    if tile.scale == NONE {
        return sum;
    }
    return sum * scale[tile.scale + min(o, params.n_out - 1u)];
}
#endif

// Stores output o of row i of the tile: the scaled sum over the inputs, and with TWO that of the second matrix.
fn store(tile: Tile, i: u32, o: u32, sum: f32, up: f32) {
    if i >= tile.count || o >= params.n_out {
        return;
    }
#if EXPERT
#if TILED
    let row = pick_of(tile, i);
#else
    let row = tile.first;
#endif
#else
    let row = tile.first + i;
#endif
    let to = params.out_base + row * params.out_stride + o;
#if TWO
#if EXPERT
    // The score belongs to the expert's input; the products are linear in it.
    let score = scores[params.scores_base + row];
#else
    let score = 1.0;
#endif
    let a = sum * score;
    out[to] = a * sigmoid(a) * (up * score);
#else
    var value = sum;
#if EXPERT
#else
    if params.bias_base != NONE {
        value += bias[params.bias_base + o];
    }
#endif
    if params.add != 0u {
        value += out[to];
    }
    out[to] = value;
#endif
}
