// Keys and values from one block of a cache, whose heads are of an even number of values.

@group(1) @binding(0) var<storage, read> q: array<f32>;
@group(1) @binding(1) var<storage, read_write> out: array<f32>;
// Running maxima and sums: for each row and head.
@group(1) @binding(2) var<storage, read_write> state: array<vec2<f32>>;
#if F16
@group(1) @binding(3) var<storage, read> kv: array<u32>;

fn two(element: u32) -> vec2<f32> {
    return unpack2x16float(kv[element >> 1u]);
}
#else
@group(1) @binding(3) var<storage, read> kv: array<f32>;

fn two(element: u32) -> vec2<f32> {
    return vec2<f32>(kv[element], kv[element + 1u]);
}
#endif

fn start_of(pos: i32) -> i32 {
    return select(0, pos - pos % max(params.chunk, 1), params.chunk != 0);
}

// The slots of the block that any row from `first` to `last` sees: from .x to before .y.
fn keys_of(first: u32, last: u32) -> vec2<u32> {
    let begin = max(start_of(params.pos + i32(first)) - params.block_pos, 0);
    let to = min(params.pos + i32(last) + 1 - params.block_pos, i32(params.block_tokens));
    return vec2<u32>(u32(begin), u32(max(to, begin)));
}

fn visible(slots: vec4<u32>, row: u32) -> vec4<bool> {
    let pos = params.pos + i32(row);
    let key = params.block_pos + vec4<i32>(slots);
    return (key >= vec4<i32>(start_of(pos))) & (key <= vec4<i32>(pos));
}

// Eight values from `dim` on of a key (kind 0) or a value (kind 1); 0 beyond the head.
fn octet(kind: u32, slot: u32, kv_head: u32, dim: u32) -> Octet {
    let start = ((kind * params.kv_heads + kv_head) * params.block_tokens + slot) * params.head_dim;
    // The head is shorter, and what follows it belongs to others.
    let held = vec4<bool>(dim < params.head_dim, dim + 2u < params.head_dim, dim + 4u < params.head_dim,
        dim + 6u < params.head_dim);
    let e = start + select(vec4<u32>(), dim + vec4<u32>(0u, 2u, 4u, 6u), held);
    let none = vec2<f32>();
    return Octet(
        vec4<f32>(select(none, two(e.x), held.x), select(none, two(e.y), held.y)),
        vec4<f32>(select(none, two(e.z), held.z), select(none, two(e.w), held.w)));
}
