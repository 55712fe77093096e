// Keys and values from the blocks of a cache.
#import attend/params

@group(1) @binding(0) var<storage, read> q: array<f32>;
@group(1) @binding(1) var<storage, read_write> out: array<f32>;
// Running maxima and sums: for each part, pass, row and head.
@group(1) @binding(2) var<storage, read_write> state: array<vec2<f32>>;
#if F16
@group(1) @binding(3) var<storage, read> kv0: array<u32>;
@group(1) @binding(4) var<storage, read> kv1: array<u32>;
@group(1) @binding(5) var<storage, read> kv2: array<u32>;
@group(1) @binding(6) var<storage, read> kv3: array<u32>;
@group(1) @binding(7) var<storage, read> kv4: array<u32>;

fn index(element: u32) -> u32 {
    return element >> 1u;
}

// Elements `at` and `at + 1` from the words they are in.
fn word(first: u32, second: u32, at: u32, alone: bool) -> Word {
#if ODD
    let both = select(first, (first >> 16u) | (second << 16u), (at & 1u) == 1u);
    return select(both, both & 0xffffu, alone);
#else
    return first;
#endif
}
#else
@group(1) @binding(3) var<storage, read> kv0: array<f32>;
@group(1) @binding(4) var<storage, read> kv1: array<f32>;
@group(1) @binding(5) var<storage, read> kv2: array<f32>;
@group(1) @binding(6) var<storage, read> kv3: array<f32>;
@group(1) @binding(7) var<storage, read> kv4: array<f32>;

fn index(element: u32) -> u32 {
    return element;
}

fn word(first: f32, second: f32, at: u32, alone: bool) -> Word {
    return vec2<f32>(first, select(second, 0.0, alone));
}
#endif

fn offset_of(part: u32) -> u32 {
    return 0u;
}

fn state_of(part: u32, query: vec4<u32>, kv_head: u32, pass_: u32) -> vec4<u32> {
    let heads = params.group * params.kv_heads;
    let rows = params.queries / params.group;
    let at = query / params.group * heads + kv_head * params.group + query % params.group;
    return (part * params.passes + pass_) * rows * heads + at;
}

fn tiles_of_block() -> u32 {
    return (params.block_tokens + KEYS - 1u) / KEYS;
}

fn tiles_of(part: u32) -> vec2<u32> {
    let all = params.n_blocks * tiles_of_block();
    return min(vec2<u32>(part, part + 1u) * params.tiles, vec2<u32>(all));
}

fn tile_keys(n: u32) -> Keys {
    let block = n / tiles_of_block();
    let slot = n % tiles_of_block() * KEYS;
    let count = min(KEYS, params.block_tokens - slot);
    return Keys(block, slot, count, params.block_pos + i32(block * params.block_tokens + slot));
}

fn start_of(pos: i32) -> i32 {
    return select(0, pos - pos % max(params.chunk, 1), params.chunk != 0);
}

// Whether any row from `first` to `last` sees any of the keys.
fn seen(keys: Keys, first: u32, last: u32) -> bool {
    return keys.pos + i32(keys.count) > start_of(params.pos + i32(first)) && keys.pos <= params.pos + i32(last);
}

// The positions of four queries.
fn sight(row: vec4<u32>) -> vec4<i32> {
    return params.pos + vec4<i32>(row);
}

// Which of four queries see the key of a lane.
fn visible(keys: Keys, lane: u32, pos: vec4<i32>) -> vec4<bool> {
    let key = vec4<i32>(keys.pos + i32(lane));
    let start = select(vec4<i32>(), pos - pos % vec4<i32>(max(params.chunk, 1)), vec4<bool>(params.chunk != 0));
    return (key >= start) & (key <= pos) & vec4<bool>(lane < keys.count);
}

// The element of the first of a cell's two values, counted in the block; none if the cell stays empty.
fn element(i: u32, start: u32, count: u32, first: u32) -> u32 {
    let dim = first + 2u * (i % WORDS);
    return select(NONE, start + i / WORDS * params.head_dim + dim, i / WORDS < count && dim < params.head_dim);
}

fn put(i: u32, value: Word) {
    tile[place(i / WORDS, i % WORDS)] = value;
}

// The last value of an odd head has nothing beside it.
fn alone(i: u32, first: u32) -> bool {
    return first + 2u * (i % WORDS) + 1u == params.head_dim;
}

// Keys (kind 0) or values (kind 1): 64 of each head from `first` on.
fn load_tile(kind: u32, keys: Keys, kv_head: u32, part: u32, first: u32, t: u32) {
    let head = kind * params.kv_heads + kv_head;
    let s = (head * params.block_tokens + keys.slot) * params.head_dim;
    // A loop for each block, so that the loads of one follow each other.
    switch keys.block {
        case 0u: {
            for (var i = t; i < CELLS; i += THREADS) {
                let e = element(i, s, keys.count, first);
                if e != NONE { put(i, word(kv0[index(e)], kv0[index(e + 1u)], e, alone(i, first))); }
            }
        }
        case 1u: {
            for (var i = t; i < CELLS; i += THREADS) {
                let e = element(i, s, keys.count, first);
                if e != NONE { put(i, word(kv1[index(e)], kv1[index(e + 1u)], e, alone(i, first))); }
            }
        }
        case 2u: {
            for (var i = t; i < CELLS; i += THREADS) {
                let e = element(i, s, keys.count, first);
                if e != NONE { put(i, word(kv2[index(e)], kv2[index(e + 1u)], e, alone(i, first))); }
            }
        }
        case 3u: {
            for (var i = t; i < CELLS; i += THREADS) {
                let e = element(i, s, keys.count, first);
                if e != NONE { put(i, word(kv3[index(e)], kv3[index(e + 1u)], e, alone(i, first))); }
            }
        }
        default: {
            for (var i = t; i < CELLS; i += THREADS) {
                let e = element(i, s, keys.count, first);
                if e != NONE { put(i, word(kv4[index(e)], kv4[index(e + 1u)], e, alone(i, first))); }
            }
        }
    }
}
