// What every kernel that multiplies by a weight matrix is told. Bases and strides count elements, `w_*` bytes.
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
    scale_base: u32,
    bias_base: u32,
    // Add to what `out` holds.
    add: u32,
    // Only for experts: choices per row, experts, and where their table begins.
    top_k: u32,
    n_experts: u32,
    table_base: u32,
    // First pick of row 0, in `ids` and `scores`.
    pick_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(1) var<storage, read> x: array<f32>;
@group(1) @binding(2) var<storage, read_write> out: array<f32>;
@group(1) @binding(3) var<storage, read> scale: array<f32>;
