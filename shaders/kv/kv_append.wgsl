// KvAppend into one block: stores new keys and values as they come, rounded to the block's element type.
// F16 packs two elements into a word; with ODD heads, two heads may share a word, and elements are merged atomically.
#import common/half

struct Params {
    // Rows that go into this block, and the slot of the first.
    rows: u32,
    slot: u32,
    width: u32,
    head_dim: u32,
    block_tokens: u32,
    k_base: u32,
    v_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> k: array<f32>;
@group(1) @binding(1) var<storage, read> v: array<f32>;
#if F16
#if ODD
@group(1) @binding(2) var<storage, read_write> block: array<atomic<u32>>;
#else
@group(1) @binding(2) var<storage, read_write> block: array<u32>;
#endif
#else
@group(1) @binding(2) var<storage, read_write> block: array<f32>;
#endif

#if F16
#if ODD
const STEP = 1u;
#else
const STEP = 2u;
#endif
#else
const STEP = 1u;
#endif

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let i = id.x * STEP;
    let row = group.y;
    if i >= params.width || row >= params.rows {
        return;
    }
    let key = params.k_base + row * params.width + i;
    let value = params.v_base + row * params.width + i;
    let to = (i / params.head_dim * params.block_tokens + params.slot + row) * params.head_dim + i % params.head_dim;
    // The values follow all keys.
    let values = params.width * params.block_tokens;
#if F16
#if ODD
    merge(to, f16_bits(k[key]));
    merge(values + to, f16_bits(v[value]));
#else
    block[to / 2u] = f16_bits(k[key]) | (f16_bits(k[key + 1u]) << 16u);
    block[(values + to) / 2u] = f16_bits(v[value]) | (f16_bits(v[value + 1u]) << 16u);
#endif
#else
    block[to] = k[key];
    block[values + to] = v[value];
#endif
}

#if ODD
// Element `at` becomes `bits`; its neighbour in the word stays, whoever writes it meanwhile.
fn merge(at: u32, bits: u32) {
    let shift = (at & 1u) * 16u;
    atomicAnd(&block[at >> 1u], ~(0xffffu << shift));
    atomicOr(&block[at >> 1u], bits << shift);
}
#endif
