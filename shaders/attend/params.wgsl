// What all kernels of attention are given; the host fills in what its kernel uses.

struct Params {
    // Queries of one key/value head: rows times the query heads that share it.
    queries: u32,
    group: u32,
    kv_heads: u32,
    head_dim: u32,
    // Values of a row of all query heads.
    width: u32,
    // Workgroups that share a head, 128 of its values each.
    passes: u32,
    q_base: u32,
    out_base: u32,
    // Values from the output of one part of the keys to that of the next.
    part_stride: u32,
    // Parts of the keys.
    parts: u32,
    scale: f32,
    // Go on from the sums in `out` and `state`; divide by the sum of weights at the end.
    carry: u32,
    finish: u32,
    // Tiles of keys in a part.
    tiles: u32,
    // Positions relative to the start of the window of row 0: of row 0, and of the first slot of the first block.
    pos: i32,
    block_pos: i32,
    // Size of the chunks; 0 when all earlier positions are visible.
    chunk: i32,
    block_tokens: u32,
    n_blocks: u32,
    // AttendAll: rows of a group, and where its keys and values are.
    rows: u32,
    k_base: u32,
    v_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

const KEYS = 32u;
const WORDS = 32u;
const CELLS = KEYS * WORDS;
const LOWEST = -3.4028234e38;
const NONE = 0xffffffffu;

#if WIDE
#if F16
const SLICES = 4u;
#else
const SLICES = 2u;
#endif
#else
const SLICES = 1u;
#endif
const THREADS = SLICES * KEYS;

// A tile holds two values in a word.
#if F16
alias Word = u32;

fn values_of(word: Word) -> vec2<f32> {
    return unpack2x16float(word);
}
#else
alias Word = vec2<f32>;

fn values_of(word: Word) -> vec2<f32> {
    return word;
}
#endif

// Up to 32 consecutive keys: which block holds them, the slot and the position of the first.
struct Keys {
    block: u32,
    slot: u32,
    count: u32,
    pos: i32,
}
