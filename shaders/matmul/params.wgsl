// What every kernel that multiplies by weight matrices is told. Bases and strides count elements, `w_*` and `up_*` bytes.
// `NONE` as a base means that there is no such vector.

const NONE = 0xffffffffu;

struct Params {
    rows: u32,
    n_in: u32,
    n_out: u32,
    x_base: u32,
    x_stride: u32,
    out_base: u32,
    out_stride: u32,
    w_base: u32,
    w_stride: u32,
    // Of the second matrix, where there are two.
    up_base: u32,
    up_stride: u32,
    scale_base: u32,
    bias_base: u32,
    // Add to what `out` holds.
    add: u32,
    // Only for experts: choices per row, experts, and where their table begins.
    top_k: u32,
    n_experts: u32,
    table_base: u32,
    // Where the picks begin that are looked up: of row 0 in their buffer, or the sorted ones in the plan; and the scores.
    pick_base: u32,
    scores_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
#if PACKED
// In units of such vectors: what `pack_rows` or `half_rows` writes.
@group(1) @binding(1) var<storage, read> x: array<vec4<u32>>;
#else
#if VECTORS
// Bases and strides are multiples of 4.
@group(1) @binding(1) var<storage, read> x: array<vec4<f32>>;
#else
@group(1) @binding(1) var<storage, read> x: array<f32>;
#endif
#endif
@group(1) @binding(2) var<storage, read_write> out: array<f32>;
