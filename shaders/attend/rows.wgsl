// Keys and values from rows: each group of rows is a part, and all its keys are seen by all its rows.
#import attend/params

@group(1) @binding(0) var<storage, read> q: array<f32>;
@group(1) @binding(1) var<storage, read_write> out: array<f32>;
@group(1) @binding(2) var<storage, read_write> state: array<vec2<f32>>;
@group(1) @binding(3) var<storage, read> k: array<f32>;
@group(1) @binding(4) var<storage, read> v: array<f32>;

fn offset_of(part: u32) -> u32 {
    return part * params.rows * params.width;
}

// No state is carried.
fn state_of(part: u32, query: vec4<u32>, kv_head: u32, pass_: u32) -> vec4<u32> {
    return vec4<u32>();
}

fn tiles_of(part: u32) -> vec2<u32> {
    return vec2<u32>(0u, (params.rows + KEYS - 1u) / KEYS);
}

fn tile_keys(n: u32) -> Keys {
    return Keys(0u, n * KEYS, min(KEYS, params.rows - n * KEYS), 0);
}

fn seen(keys: Keys, first: u32, last: u32) -> bool {
    return true;
}

fn sight(row: vec4<u32>) -> vec4<i32> {
    return vec4<i32>();
}

fn visible(keys: Keys, lane: u32, pos: vec4<i32>) -> vec4<bool> {
    return vec4<bool>(lane < keys.count);
}

fn load_tile(kind: u32, keys: Keys, kv_head: u32, part: u32, first: u32, t: u32) {
    let s = offset_of(part) + keys.slot * params.width + kv_head * params.head_dim;
    for (var i = t; i < CELLS; i += THREADS) {
        let dim = first + 2u * (i % WORDS);
        if i / WORDS < keys.count && dim < params.head_dim {
            let e = s + i / WORDS * params.width + dim;
            // The last value of an odd head has nothing beside it.
            let more = dim + 1u < params.head_dim;
            var word = vec2<f32>();
            if kind == 0u {
                word = vec2<f32>(k[params.k_base + e], k[params.k_base + e + u32(more)]);
            } else {
                word = vec2<f32>(v[params.v_base + e], v[params.v_base + e + u32(more)]);
            }
            word.y = select(0.0, word.y, more);
            tile[place(i / WORDS, i % WORDS)] = word;
        }
    }
}
