// EmbedRows, eight values a thread: out[r] = table[token of r].
#import quant/values
#import common/weights
#import common/words
#import quant/{format}

const NONE = 0xffffffffu;

struct Params {
    width: u32,
    out_base: u32,
    // The window holds table rows `first .. first + count`; other tokens belong to another dispatch.
    first: u32,
    count: u32,
    w_base: u32,
    w_stride: u32,
    scale_base: u32,
    tokens_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(1) var<storage, read> tokens: array<u32>;
@group(1) @binding(2) var<storage, read_write> out: array<f32>;
@group(1) @binding(3) var<storage, read> scale: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let i = id.x * 8u;
    let row = tokens[params.tokens_base + group.y] - params.first;
    if i >= params.width || row >= params.count {
        return;
    }
    var factor = 1.0;
    if params.scale_base != NONE {
        factor = scale[params.scale_base + row];
    }
    let start = params.w_base + row * params.w_stride;
    let to = params.out_base + group.y * params.width + i;
#if PLAIN
    if i + 8u > params.width {
        for (var k = 0u; i + k < params.width; k++) {
            out[to + k] = decode(start + (i + k) * VALUE_BYTES) * factor;
        }
        return;
    }
#endif
    let v = dequant(start + (i / BLOCK_LEN) * BLOCK_BYTES, i % BLOCK_LEN);
    for (var k = 0u; k < 4u; k++) {
        out[to + k] = v.lo[k] * factor;
        out[to + 4u + k] = v.hi[k] * factor;
    }
}
